"""Reading server-sent events plainly: what arrives, and nothing that the protocol does not promise."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2
import orjson


@dataclass(frozen=True, slots=True)
class Event:
    """One event as it came over the wire; one without an id has 0."""

    id: int
    type: str
    data: Any


async def parse(answer: httpx2.Response) -> AsyncIterator[Event]:
    """Yield the events of an open response."""
    fields: dict[str, str] = {}
    async for line in _lines(answer):
        if not line:
            if "data" in fields:
                yield Event(int(fields.get("id", 0)), fields["event"], orjson.loads(fields["data"]))
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value


async def _lines(answer: httpx2.Response) -> AsyncIterator[str]:
    """Yield lines as the server ends them; the client's own `aiter_lines` also splits at U+2028 inside a text."""
    rest = b""
    async for part in answer.aiter_bytes():
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            yield line.decode()


async def tail(
    client: httpx2.AsyncClient, stream_id: str, after: int = 0, params: dict[str, str] | None = None
) -> list[Event]:
    """Read a stream's events in one go, to the end of the response."""
    headers = {"Last-Event-ID": str(after)} if after else {}
    async with client.stream("GET", f"/v1/streams/{stream_id}/events", headers=headers, params=params) as answer:
        if answer.status_code == 204:
            return []
        assert answer.status_code == 200, answer.status_code
        return [event async for event in parse(answer)]


def text(events: list[Event]) -> str:
    """Return the answer that the events make up."""
    return "".join(event.data["text"] for event in events if event.type == "text")
