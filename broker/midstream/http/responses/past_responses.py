"""Responses that were started before, by whichever endpoint: found by their id, and read from the log."""

from typing import Final

import orjson

from midstream.access.grant import Scope
from midstream.faces.responses import ResponsesFace
from midstream.faces.responses_output import ResponsesState
from midstream.http.responses.responses_request import whole_echo
from midstream.log.entries import Json
from midstream.log.errors import StreamAbsent
from midstream.log.keys import ID_CHARS
from midstream.service.caller import Caller
from midstream.service.stream_handle import StreamHandle

PREFIX: Final = "resp_"


def face_of(stream: StreamHandle, origin: Json) -> ResponsesFace:
    """Return the face that shows a stream as a response, whichever endpoint started it."""
    echo = origin.get("echo") or {
        "model": origin.get("model", stream.state.model),
        "metadata": orjson.loads(stream.state.metadata),
    }
    return ResponsesFace(
        stream.id,
        stream.state.created_ms,
        orjson.dumps(whole_echo(echo)).decode(),
        background=origin.get("background", False),
        encrypted=origin.get("encrypted", False),
    )


async def find_response(
    caller: Caller, response_id: str, scope: Scope = Scope.READ
) -> tuple[StreamHandle, ResponsesFace]:
    """Return a response of the caller's; `scope` is what is to be done with it.

    Raises:
        InsufficientScopeError: The credential lacks the scope, whether there is such a response or not.
        StreamAbsent: There is none, or it was not to be stored.
    """
    caller.require(scope)
    stream_id = response_id.removeprefix(PREFIX)
    if len(response_id) != len(PREFIX) + ID_CHARS or stream_id == response_id:
        raise StreamAbsent(response_id)
    stream = await caller.streams.find(stream_id, scope)
    origin = await stream.origin()
    if origin.get("echo", {}).get("store") is False:
        raise StreamAbsent(response_id)
    return stream, face_of(stream, origin)


async def input_of(stream: StreamHandle) -> list[Json]:
    """Return the input that a stream was started with, without the instructions that its endpoint added.

    Those are orders for that turn alone; the origin says how many items of them stand first and last.
    """
    origin = await stream.origin()
    items = (await stream.request()).as_items()
    return items[origin.get("before", 0) : len(items) - origin.get("behind", 0)]


async def state_of(stream: StreamHandle, face: ResponsesFace) -> ResponsesState:
    """Return what a response has come to so far, as its face remembers it."""
    state = face.begin()
    async for entry in stream.entries():
        _, state = face.events(entry, state)
    return state


async def events_after(stream: StreamHandle, face: ResponsesFace, number: int) -> tuple[list[bytes], int, int]:
    """Return a response's events after that number, how many there are in all, and the offset of the last entry."""
    state = face.begin()
    later: list[bytes] = []
    offset = 0
    async for entry in stream.entries():
        first, offset = state.sequence, entry.offset
        events, state = face.events(entry, state)
        later += events[max(0, number + 1 - first) :]
    return later, state.sequence, offset
