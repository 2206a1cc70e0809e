"""Reads a provider's events from the bytes of an SDK's stream.

The SDK makes the call and maps its errors. Nearly all events are plain: one line of data that is a JSON object. They
are parsed here by orjson, at a fraction of what they cost by way of the SDK. Everything else in the stream (errors,
comments, other fields, data that orjson would read in another way) is read by the SDK.
"""

import asyncio
import functools
import json
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, suppress
from importlib.metadata import version
from typing import Any, Final

import httpx2
import orjson

from midstream.log.entries import Json

logger = logging.getLogger(__name__)

TESTED: Final = {"openai": ("3.52", "4"), "anthropic": ("2.11", "3")}
"""From this version on, and before that one. Streams of another one are read by the SDK alone."""
DRAIN_S: Final = 0.1
"""How long the body's end is waited for after the last event: only a body that was read whole leaves a connection."""
_LONG_NUMBER: Final = re.compile(rb"\d{17}")
"""Part of a number that orjson may read as a float, where the SDK reads an integer of any size."""
_DONE: Final = {"openai": (b"data: [DONE]", b"data:[DONE]"), "anthropic": ()}
"""How a line begins at which an SDK stops reading."""

Plain = Callable[[list[bytes]], Json | None]
"""Returns what the SDK would make of an event's lines, if they are plain; None leaves the event to the SDK."""


def reading(sdk: str, client: Any, plain: Plain) -> Callable[[Any], AsyncIterator[Any]]:
    """Return how to iterate the streams of an SDK: the events as the SDK yields them, and the errors that it raises.

    Args:
        sdk: The name of its package.
        client: The client that makes the streams.
        plain: Reads the SDK's plain events.
    """
    if not is_tested(sdk):
        return aiter
    return functools.partial(plain_events, client=client, plain=plain, last=_DONE[sdk])


@functools.cache
def is_tested(sdk: str) -> bool:
    """Tell whether the installed SDK is one whose streams we can read; warn if it is not."""
    installed, (first, end) = version(sdk), TESTED[sdk]
    if _numbers(first) <= _numbers(installed) < _numbers(end):
        return True
    message = "%s %s is installed, and fast reading was tested with %s %s: each token takes more CPU time"
    logger.warning(message, sdk, installed, sdk, first)
    return False


def plain_openai(lines: list[bytes]) -> Json | None:
    """Read an event of an OpenAI API."""
    if len(lines) > 2 or (len(lines) == 2 and (lines[0][:6] != b"event:" or b"thread." in lines[0])):  # noqa: PLR2004
        return None
    event = _plain_json(lines[-1])
    return None if event is None or event.get("error") else event


def plain_anthropic(lines: list[bytes]) -> Json | None:
    """Read an event of the messages API, whose SDK looks at the event's name alone."""
    if len(lines) != 2 or lines[0] != b"event: content_block_delta":  # noqa: PLR2004
        return None
    return _plain_json(lines[1])


def _plain_json(line: bytes) -> Json | None:
    if line[:5] != b"data:" or (b'"arguments"' in line and _LONG_NUMBER.search(line)):
        return None
    try:
        data = orjson.loads(line[5:])
    except orjson.JSONDecodeError:
        return None
    return data if isinstance(data, dict) else None


async def plain_events(stream: Any, *, client: Any, plain: Plain, last: tuple[bytes, ...]) -> AsyncGenerator[Any]:
    """Yield the events of a stream of which nothing was read yet; the caller closes the stream.

    Args:
        stream: The SDK's stream, made with `cast_to=object`: the SDK itself would yield JSON.
        client: The SDK's client.
        plain: Reads plain events.
        last: How a line begins after which nothing is read.
    """
    lines = EventLines()
    async with aclosing(stream.response.aiter_raw()) as pieces:
        async for piece in pieces:
            for run in _runs(lines.push(piece), plain, last):
                if isinstance(run, dict):
                    yield run
                    continue
                async for event in _by_sdk(stream, client, run):
                    yield event
                if any(line.startswith(last) for line in run):
                    await _drain(pieces)
                    return
    # What no blank line follows is no event, but the SDK refuses what is no text.
    if rest := lines.rest():
        async for event in _by_sdk(stream, client, rest):
            yield event


async def json_events(stream: Any) -> AsyncGenerator[Any]:
    """Yield the data of all events of a Google stream, of which nothing was read yet; the caller closes the stream.

    The SDK itself has no way to yield JSON: it makes a model of each event, and drops what its types do not know.
    """
    lines = EventLines()
    async with aclosing(stream.response.aiter_raw()) as pieces:
        async for piece in pieces:
            for event in lines.push(piece):
                data = b"\n".join(line[5:].removeprefix(b" ") for line in event if line[:5] == b"data:")
                if data == b"[DONE]":
                    await _drain(pieces)
                    return
                if data:
                    yield _any_json(data)


def _any_json(data: bytes) -> Any:
    """Return JSON with numbers of any size in arguments, and with characters that were cut in half."""
    if b'"arguments"' not in data or not _LONG_NUMBER.search(data):
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(data)
    return json.loads(data)


class EventLines:
    """Cuts pieces of an event stream into the lines of each event. Lines end as the SDKs' do: with CR, LF or both."""

    def __init__(self) -> None:
        self._event: list[bytes] = []
        self._line: list[bytes] = []
        self._after_cr = False

    def push(self, piece: bytes) -> Iterator[list[bytes]]:
        """Yield the lines of each event that a piece completes; it has to be read to its end."""
        if self._after_cr and piece.startswith(b"\n"):
            piece = piece[1:]
        self._after_cr = piece.endswith(b"\r")
        if b"\n" not in piece and b"\r" not in piece:
            self._line.append(piece)  # it is not joined yet: one long line could come in very many pieces
            return
        lines = b"".join((*self._line, piece)).splitlines()
        self._line = [] if piece.endswith((b"\n", b"\r")) else [lines.pop()]
        for line in lines:
            if line:
                self._event.append(line)
            elif self._event:
                event, self._event = self._event, []
                yield event

    def rest(self) -> list[bytes]:
        """Return the lines that no blank line has followed."""
        return [*self._event, *([b"".join(self._line)] if self._line else [])]


def _runs(events: Iterator[list[bytes]], plain: Plain, last: tuple[bytes, ...]) -> Iterator[Json | list[bytes]]:
    """Yield plain events as JSON, and the lines of the others, as many together as come one after the other."""
    others: list[bytes] = []
    for event in events:
        read = plain(event)
        if read is not None:
            if others:
                yield others
                others = []
            yield read
            continue
        others += (*event, b"")
        if any(line.startswith(last) for line in event):
            break
    if others:
        yield others


async def _by_sdk(stream: Any, client: Any, lines: list[bytes]) -> AsyncGenerator[Any]:
    """Yield what the SDK reads of some lines."""
    answer = stream.response
    content = b"".join(line + b"\n" for line in lines)
    part = httpx2.Response(answer.status_code, headers=answer.headers, request=answer.request, content=content)
    async for event in type(stream)(cast_to=object, response=part, client=client):
        yield event


async def _drain(pieces: AsyncIterator[bytes]) -> None:
    with suppress(TimeoutError, httpx2.TransportError):
        async with asyncio.timeout(DRAIN_S):
            async for _ in pieces:
                pass


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)))
