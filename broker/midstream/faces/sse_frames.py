"""The shape of server-sent events: a line for each field, then an empty line.

Data is JSON, which escapes every line break, so it is always one line.
"""

from typing import Final

HEARTBEAT: Final = b":\n\n"
"""A comment, which clients ignore."""


def sse_frame(data: bytes, event: str = "") -> bytes:
    """Return a frame with its data and, if it has one, the name of its event."""
    if event:
        return b"event: %b\ndata: %b\n\n" % (event.encode(), data)
    return b"data: %b\n\n" % data


def with_id(event_id: str, frame: bytes) -> bytes:
    """Return a frame that carries an id: the `Last-Event-ID` of a client that has read it."""
    return b"id: %b\n%b" % (event_id.encode(), frame)


def with_retry(retry_ms: int, frame: bytes = b"\n") -> bytes:
    """Return a frame that also sets how long an EventSource waits before it reconnects."""
    return b"retry: %d\n%b" % (retry_ms, frame)


DONE: Final = sse_frame(b"[DONE]")
"""The last frame of a whole answer, for OpenAI's completions and for the AI SDK."""
