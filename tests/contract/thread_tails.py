"""Tails of the thread `t`, as tests read them."""

import asyncio
from typing import Any

import httpx2
import orjson

from tests.contract.access_calls import ADMIN, started

PATH = "/v1/threads/t/events"
APPS = {name: f"tests.contract.ui_sources:{name}" for name in ("everything", "begins_anew", "cut_in_a_call")}
Event = tuple[str, str, dict[str, Any]]
"""Its id, its type, and its data."""


async def recorded(client: httpx2.AsyncClient) -> list[str]:
    """Record streams of several kinds, the last of which fails in a call's input; needs APPS. Return their ids."""
    models = ("demo/count", "app/everything", "app/begins_anew", "app/cut_in_a_call")
    return [
        await started(client, ADMIN, thread="t", model=model, input=f"turn {turn}") for turn, model in enumerate(models)
    ]


def event_of(frame: str) -> Event | None:
    """Return the event of a frame; None for a heartbeat, or a frame that only says when to come back."""
    fields = dict(line.split(": ", 1) for line in frame.split("\n") if ": " in line)
    return (fields.get("id", ""), fields["event"], orjson.loads(fields["data"])) if "event" in fields else None


async def replay(
    client: httpx2.AsyncClient, last: str = "", headers: dict[str, str] = ADMIN, **params: str
) -> list[Event]:
    """Return what there is after a cursor."""
    named = {"Last-Event-ID": last} if last else {}
    answer = await client.get(PATH, params={"follow": False, **params}, headers=headers | named)
    assert answer.status_code == 200, answer.text
    return [event for frame in answer.text.split("\n\n") if (event := event_of(frame))]


class Tail:
    """A tail that is open."""

    def __init__(self, response: httpx2.Response) -> None:
        self._lines = response.aiter_lines()

    async def frame(self) -> str:
        """Return the next frame; raises StopAsyncIteration at the end of the response."""
        lines: list[str] = []
        async with asyncio.timeout(10):
            while line := await anext(self._lines):
                lines.append(line)
        return "\n".join(lines)

    async def until(self, kind: str) -> list[Event]:
        """Return the events up to the next one of a type."""
        events: list[Event] = []
        while not events or events[-1][1] != kind:
            if event := event_of(await self.frame()):
                events.append(event)
        return events


def followed(client: httpx2.AsyncClient, last: str = "", headers: dict[str, str] = ADMIN) -> Any:
    """Return a context with the response of a tail that begins after a cursor."""
    return client.stream("GET", PATH, params={"after": last}, headers=headers)
