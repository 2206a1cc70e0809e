"""OpenAI Responses: create, stream, run in the background, read again, cancel."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from midstream.testing.provider.chat_api import error_body, refused
from midstream.testing.provider.event_stream import GARBAGE, EventStream, frame, json_answer
from midstream.testing.provider.ledger import Call, Ledger, now_ms
from midstream.testing.provider.response_frames import Writer
from midstream.testing.provider.script import Broken, Script, break_off, play
from midstream.testing.provider.start import Started, start
from midstream.testing.provider.strictness import refuse_response

Json = dict[str, Any]

# Breaks of a response itself; the others break a connection, and a background response goes on.
_OF_THE_RESPONSE = ("error_event", "failed_event")


class Generation:
    """One response that is being generated, by a task of its own, and all its events so far."""

    def __init__(self, response_id: str, started: Started) -> None:
        self.id = response_id
        self.script = started.script
        self.background = bool(started.body.get("background"))
        self.events: list[Json] = []
        self.status = "in_progress"
        self.created_at_ms = now_ms()
        self.writer = Writer(response_id, self.script, started.body)
        self._news = asyncio.Event()
        self._add(self.writer.begin())
        self.task = asyncio.create_task(self._generate(started.fail if started.fail in _OF_THE_RESPONSE else None))

    @property
    def response(self) -> Json:
        """The response as it is now."""
        last: Json | None = self.events[-1].get("response")
        return last if last and self.status != "in_progress" else self.writer.response(self.status)

    def cancel(self) -> None:
        """End it, unless it has ended."""
        if self.status == "in_progress":
            self.task.cancel()
            self._end("cancelled", iter([self.writer.fail("cancelled", None)]))

    async def follow(self) -> AsyncGenerator[Json]:
        """Yield all events, also those to come."""
        position = 0
        while position < len(self.events) or self.status == "in_progress":
            if position == len(self.events):
                await self._news.wait()
                continue
            yield self.events[position]
            position += 1

    async def _generate(self, fail: str | None) -> None:
        try:
            async for step in play(self.script, fail):
                self._add(self.writer.write(step))
        except Broken as broken:
            error = {"code": self.script.error_code or "server_error", "message": "it broke, as the script says"}
            if broken.fail == "failed_event":
                self._end("failed", iter([self.writer.fail("failed", error)]))
            else:
                self._end("failed", iter([{"type": "error", "param": None, **error}]))
        else:
            self._end("incomplete" if self.script.finish != "stop" else "completed", self.writer.end())

    def _end(self, status: str, events: Iterator[Json]) -> None:
        self._add(events)
        self.status = status

    def _add(self, events: Iterator[Json]) -> None:
        for event in events:
            self.events.append(event | {"sequence_number": len(self.events)})
        news, self._news = self._news, asyncio.Event()
        news.set()


class Kept(Protocol):
    """What a shelf keeps: a response, or an interaction."""

    id: str
    task: asyncio.Task[None]


class Shelf:
    """The responses and interactions that are kept."""

    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}

    def add(self, started: Started) -> Generation:
        """Begin a response, and keep it."""
        generation = Generation(f"resp_{started.call.number}_{int(now_ms())}", started)
        self.keep(generation)
        return generation

    def keep(self, generation: Kept) -> None:
        """Keep what has begun."""
        self._kept[generation.id] = generation

    def get(self, generation_id: str) -> Any:
        """Return what is kept; None: there is nothing of that id."""
        return self._kept.get(generation_id)

    async def clear(self) -> None:
        """Stop and forget all responses."""
        generations = list(self._kept.values())
        self._kept.clear()
        for generation in generations:
            generation.task.cancel()
        await asyncio.gather(*(generation.task for generation in generations), return_exceptions=True)


def _refuse(_: Request, body: Json) -> Json | None:
    refusal = refuse_response(body)
    return refused(refusal) if refusal else None


async def create(request: Request) -> Response:
    """`POST /v1/responses`."""
    started = await start(request, "responses", "input", error_body, _refuse)
    if isinstance(started, Response):
        return started
    generation = request.app.state.shelf.add(started)
    started.call.upstream_id = generation.id
    if started.body.get("stream"):
        return EventStream(_frames(generation, started.call, started.fail), started.call)
    if not generation.background:
        with suppress(asyncio.CancelledError):
            await generation.task
    return json_answer(generation.response, started.call)


async def count_tokens(request: Request) -> Response:
    """`POST /v1/responses/input_tokens`."""
    body = await request.json()
    call = request.app.state.ledger.enter("input_tokens", body, billed=False)
    if (refusal := refuse_response(body)) is not None:
        call.status = 400
        return json_answer(refused(refusal), call)
    return json_answer({"object": "response.input_tokens", "input_tokens": len(str(body["input"]))}, call)


async def retrieve(request: Request) -> Response:
    """`GET /v1/responses/{response_id}`."""
    ledger: Ledger = request.app.state.ledger
    generation = request.app.state.shelf.get(request.path_params["response_id"])
    call = ledger.enter("retrieve", dict(request.query_params), billed=False)
    if generation is None:
        return _refused(call, 404, "Response not found.")
    call.upstream_id = generation.id
    if request.query_params.get("stream") != "true":
        return json_answer(generation.response, call)
    if not generation.background:
        return _refused(call, 400, "This response cannot be streamed: it was not created with background=true.")
    script: Script = generation.script
    if script.max_age_ms is not None and now_ms() - generation.created_at_ms > script.max_age_ms:
        old = "This response can no longer be streamed because it is more than 5 minutes old."
        return _refused(call, 400, old)
    after = int(request.query_params.get("starting_after", -1))
    return EventStream(_frames(generation, call, ledger.take_failure(script), after), call)


async def cancel(request: Request) -> Response:
    """`POST /v1/responses/{response_id}/cancel`."""
    generation = request.app.state.shelf.get(request.path_params["response_id"])
    if generation is None:
        return JSONResponse(error_body(404, "Response not found.", None), 404)
    if not generation.background:
        return JSONResponse(error_body(400, "Only background responses can be cancelled.", None), 400)
    generation.cancel()
    return JSONResponse(generation.response)


def _refused(call: Call, status: int, message: str) -> Response:
    call.status = status
    return json_answer(error_body(status, message, None), call)


async def _frames(generation: Generation, call: Call, fail: str | None, after: int = -1) -> AsyncGenerator[bytes]:
    """Yield a response's events after `after`; a foreground response stops with its reader."""
    breaks = fail if fail not in _OF_THE_RESPONSE else None
    steps = 0
    try:
        async for event in generation.follow():
            is_step = "delta" in event
            is_last = event["type"] in ("response.completed", "response.incomplete")
            if breaks and ((is_step and steps >= generation.script.fail_at) or is_last):
                await break_off(breaks)
            steps += is_step
            if event["sequence_number"] > after:
                yield frame(event, event["type"])
                call.steps_sent += is_step
    except Broken as broken:
        if broken.fail != "garbage":
            raise
        yield GARBAGE
    finally:
        if not generation.background:
            generation.task.cancel()
