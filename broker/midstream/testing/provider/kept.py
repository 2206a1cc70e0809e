"""Generations that are kept: they go on in the background, and can be read again, looked at and cancelled."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, ClassVar, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from midstream.testing.provider.event_stream import GARBAGE, EventStream, frame, json_answer
from midstream.testing.provider.ledger import Call, now_ms
from midstream.testing.provider.script import Broken, break_off
from midstream.testing.provider.start import ErrorBody, Started

Json = dict[str, Any]

OF_ITSELF: Final = ("error_event", "failed_event")
"""Breaks of a generation itself; the others break a connection, and one in the background goes on."""


class Kept(ABC):
    """One generation that is made by a task of its own, and all its events so far.

    Attributes:
        task: Makes the events; it is there once the first ones are.
        type_field: The field of an event that names its type.
        last_types: The types of the events that end a generation well.
        last_frames: What a connection brings after all events.
        broken_frames: What a connection brings in its last moment, by how it breaks; nothing if not named.
    """

    type_field: ClassVar[str]
    last_types: ClassVar[tuple[str, ...]]
    last_frames: ClassVar[tuple[bytes, ...]] = ()
    broken_frames: ClassVar[Mapping[str, bytes]] = {"garbage": GARBAGE}
    task: asyncio.Task[None]

    def __init__(self, kept_id: str, started: Started) -> None:
        self.id = kept_id
        self.script = started.script
        self.body = started.body
        self.background = bool(started.body.get("background"))
        self.events: list[Json] = []
        self.status = "in_progress"
        self._created_at_ms = now_ms()
        self._news = asyncio.Event()

    @abstractmethod
    def whole(self) -> Json:
        """Return it as it is stored now."""

    @abstractmethod
    async def _generate(self, fail: str | None) -> None:
        """Add all further events."""

    @abstractmethod
    def _end_cancelled(self) -> None:
        """Add the last event of one that is cancelled."""

    @abstractmethod
    def _place(self, number: int) -> Json:
        """Return the field by which a client names the place of an event, which is the `number`th from 0."""

    @property
    def is_too_old(self) -> bool:
        """Whether it is not streamed again."""
        return self.script.max_age_ms is not None and now_ms() - self._created_at_ms > self.script.max_age_ms

    def cancel(self) -> None:
        """End it, unless it has ended."""
        if self.status == "in_progress":
            self.task.cancel()
            self._end_cancelled()

    async def frames(self, call: Call, fail: str | None, skipped: int = 0) -> AsyncGenerator[bytes]:
        """Yield what one connection brings, without the first events; one in the foreground stops with its reader."""
        breaks = fail if fail not in OF_ITSELF else None
        steps = number = 0
        try:
            while number < len(self.events) or self.status == "in_progress":
                if number == len(self.events):
                    await self._news.wait()
                    continue
                event = self.events[number]
                kind, is_step = event[self.type_field], "delta" in event
                if breaks and ((is_step and steps >= self.script.fail_at) or kind in self.last_types):
                    await break_off(breaks)
                steps += is_step
                if number >= skipped:
                    yield frame(event, kind)
                    call.steps_sent += is_step
                number += 1
            for last in self.last_frames:
                yield last
        except Broken as broken:
            if broken.fail not in self.broken_frames:
                raise
            yield self.broken_frames[broken.fail]
        finally:
            if not self.background:
                self.task.cancel()

    def _begin(self, events: Iterable[Json], fail: str | None) -> None:
        """Add the first events, and have all further ones made."""
        self._add(events)
        self.task = asyncio.create_task(self._generate(fail if fail in OF_ITSELF else None))

    def _add(self, events: Iterable[Json], status: str | None = None) -> None:
        """Add events; `status`: the last of them has ended it so."""
        for event in events:
            self.events.append(event | self._place(len(self.events)))
        self.status = status or self.status
        news, self._news = self._news, asyncio.Event()
        news.set()


class Shelf:
    """The generations that are kept."""

    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}

    async def answer(self, kept: Kept, started: Started) -> Response:
        """Keep what has begun, and answer the request that began it."""
        self._kept[kept.id] = kept
        started.call.upstream_id = kept.id
        if started.body.get("stream"):
            return EventStream(kept.frames(started.call, started.fail), started.call)
        if not kept.background:
            with suppress(asyncio.CancelledError):
                await kept.task
        return json_answer(kept.whole(), started.call)

    def get(self, kept_id: str) -> Any:
        """Return what is kept; None: there is nothing of that id."""
        return self._kept.get(kept_id)

    def cancel(self, kept_id: str, error_body: ErrorBody, absent: str, in_foreground: str) -> Response:
        """Cancel what runs in the background; the last words are those of the two refusals."""
        kept = self._kept.get(kept_id)
        if kept is None:
            return JSONResponse(error_body(HTTPStatus.NOT_FOUND, absent, None), HTTPStatus.NOT_FOUND)
        if not kept.background:
            return JSONResponse(error_body(HTTPStatus.BAD_REQUEST, in_foreground, None), HTTPStatus.BAD_REQUEST)
        kept.cancel()
        return JSONResponse(kept.whole())

    async def clear(self) -> None:
        """Stop and forget all of them."""
        generations = list(self._kept.values())
        self._kept.clear()
        for generation in generations:
            generation.task.cancel()
        await asyncio.gather(*(generation.task for generation in generations), return_exceptions=True)


def shelf_of(request: Request) -> Shelf:
    """Return the shelf of the provider that a request came to."""
    shelf: Shelf = request.app.state.shelf
    return shelf
