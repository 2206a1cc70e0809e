"""Gemini's Interactions: create, stream, run in the background, read again, cancel.

From Google's documentation and the types of its SDK: the paths, the fields, the events and their order, `[DONE]`,
opaque event ids, `last_event_id`, that `background` wants what is stored, that only what runs in the background is
cancelled, and that a stored interaction lists the steps that it was sent before its own. From reports of its users: a
connection is cut with an `error` event `gateway_timeout` while the interaction goes on. The words and statuses of
refusals are those of Google's other APIs; that they are these here, and what `max_age_ms` does, are assumptions.
"""

import asyncio
import base64
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from midstream.testing.provider.event_stream import GARBAGE, EventStream, frame, json_answer
from midstream.testing.provider.interaction_steps import Steps
from midstream.testing.provider.ledger import Call, Ledger, now_ms
from midstream.testing.provider.refused_interactions import refuse_interaction
from midstream.testing.provider.script import Broken, break_off, play
from midstream.testing.provider.start import Started, start

Json = dict[str, Any]

# Breaks of an interaction itself; the others break a connection, and a background interaction goes on.
_OF_THE_INTERACTION = ("error_event", "failed_event")
_STATUSES = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"} | {
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def error_body(status: int, message: str, code: str | None) -> Json:
    """Return the body of an error in the words of this dialect."""
    default = "INVALID_ARGUMENT" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "UNKNOWN"
    return {"error": {"code": status, "message": message, "status": code or _STATUSES.get(status, default)}}


class Interaction:
    """One interaction that is being generated, by a task of its own, and all its events so far."""

    def __init__(self, interaction_id: str, started: Started) -> None:
        self.id = interaction_id
        self.script = started.script
        self.body = started.body
        self.background = bool(started.body.get("background"))
        self.events: list[Json] = []
        self.status = "in_progress"
        self.created_at_ms = now_ms()
        self.steps = Steps(self.script)
        self._news = asyncio.Event()
        self._add(iter([{"event_type": "interaction.created", "interaction": self.brief()}]))
        self._add(iter([{"event_type": "interaction.status_update", "interaction_id": self.id, "status": self.status}]))
        fail = started.fail if started.fail in _OF_THE_INTERACTION else None
        self.task = asyncio.create_task(self._generate(fail))

    def brief(self, **more: Any) -> Json:
        """Return what events hold of it."""
        return {"id": self.id, "object": "interaction", "status": self.status, "model": self.body["model"], **more}

    def whole(self) -> Json:
        """Return it as it is stored now."""
        errors = {"errors": [self._error]} if self.status == "failed" else {}
        steps = [*self.body["input"], *self.steps.made]
        return self.brief(steps=steps, usage=self.steps.usage(), **errors)

    def cancel(self) -> None:
        """End it, unless it has ended."""
        if self.status == "in_progress":
            self.task.cancel()
            self._end("cancelled")

    async def follow(self) -> AsyncGenerator[Json]:
        """Yield all events, also those to come."""
        position = 0
        while position < len(self.events) or self.status == "in_progress":
            if position == len(self.events):
                await self._news.wait()
                continue
            yield self.events[position]
            position += 1

    @property
    def _error(self) -> Json:
        return {"code": self.script.error_code or "internal", "message": "it broke, as the script says"}

    async def _generate(self, fail: str | None) -> None:
        try:
            async for step in play(self.script, fail):
                self._add(self.steps.write(step))
        except Broken as broken:
            if broken.fail == "failed_event":
                self._end("failed", errors=[self._error])
            else:
                self._add(iter([{"event_type": "error", "error": self._error}]), "failed")
            return
        self._add(self.steps.end())
        ended = "requires_action" if self.script.tool else "completed"
        self._end(ended if self.script.finish == "stop" else "incomplete", usage=self.steps.usage())

    def _end(self, status: str, **more: Any) -> None:
        last = {"event_type": "interaction.completed", "interaction": self.brief(**more) | {"status": status}}
        self._add(iter([last]), status)

    def _add(self, events: Iterator[Json], status: str | None = None) -> None:
        for event in events:
            opaque = base64.urlsafe_b64encode(f"{self.id}:{len(self.events)}".encode()).decode()
            self.events.append(event | {"event_id": opaque})
        self.status = status or self.status
        news, self._news = self._news, asyncio.Event()
        news.set()


def _refuse(request: Request, body: Json) -> Json | None:
    if not request.headers.get("x-goog-api-key"):
        return error_body(403, "Method doesn't allow unregistered callers.", None)
    why = refuse_interaction(body)
    return error_body(HTTPStatus.BAD_REQUEST, why, None) if why else None


async def create(request: Request) -> Response:
    """`POST /v1/interactions`."""
    started = await start(request, "interactions", "input", error_body, _refuse)
    if isinstance(started, Response):
        return started
    interaction = Interaction(f"v1_{started.call.number}_{int(now_ms())}", started)
    request.app.state.shelf.keep(interaction)
    started.call.upstream_id = interaction.id
    if started.body.get("stream"):
        return EventStream(_frames(interaction, started.call, started.fail), started.call)
    if not interaction.background:
        with suppress(asyncio.CancelledError):
            await interaction.task
    return json_answer(interaction.whole(), started.call)


async def retrieve(request: Request) -> Response:
    """`GET /v1/interactions/{interaction_id}`."""
    ledger: Ledger = request.app.state.ledger
    interaction = request.app.state.shelf.get(request.path_params["interaction_id"])
    query = dict(request.query_params)
    call = ledger.enter("retrieve" if query.get("stream") == "true" else "look", query, billed=False)
    if interaction is None or interaction.body.get("store") is False:
        return _refused(call, 404, "Requested entity was not found.")
    call.upstream_id = interaction.id
    if query.get("stream") != "true":
        if "last_event_id" in query:
            return _refused(call, 400, "`last_event_id` can only be used if `stream` is true.")
        return json_answer(interaction.whole(), call)
    script = interaction.script
    if script.max_age_ms is not None and now_ms() - interaction.created_at_ms > script.max_age_ms:
        return _refused(call, 400, "This interaction can no longer be streamed.")
    after = query.get("last_event_id")
    if after is not None and after not in [event["event_id"] for event in interaction.events]:
        return _refused(call, 400, "Request contains an invalid argument.")
    return EventStream(_frames(interaction, call, ledger.take_failure(script), after), call)


async def cancel(request: Request) -> Response:
    """`POST /v1/interactions/{interaction_id}/cancel`."""
    interaction = request.app.state.shelf.get(request.path_params["interaction_id"])
    if interaction is None:
        return JSONResponse(error_body(404, "Requested entity was not found.", None), 404)
    if not interaction.background:
        return JSONResponse(error_body(400, "Only background interactions can be cancelled.", None), 400)
    interaction.cancel()
    return JSONResponse(interaction.whole())


def _refused(call: Call, status: int, message: str) -> Response:
    call.status = status
    return json_answer(error_body(status, message, None), call)


async def _frames(
    interaction: Interaction, call: Call, fail: str | None, after: str | None = None
) -> AsyncGenerator[bytes]:
    """Yield an interaction's events after `after`; one in the foreground stops with its reader."""
    breaks = fail if fail not in _OF_THE_INTERACTION else None
    steps = 0
    is_after = after is None
    try:
        async for event in interaction.follow():
            is_step = event["event_type"] == "step.delta"
            is_last = event["event_type"] == "interaction.completed"
            if breaks and ((is_step and steps >= interaction.script.fail_at) or is_last):
                await break_off(breaks)
            steps += is_step
            if is_after:
                yield frame(event, event["event_type"])
                call.steps_sent += is_step
            is_after = is_after or event["event_id"] == after
        yield frame("[DONE]", "done")
    except Broken as broken:
        if broken.fail == "cut_event":
            deadline = {"code": "gateway_timeout", "message": "Deadline expired before operation could complete."}
            yield frame({"event_type": "error", "error": deadline}, "error")
        elif broken.fail == "garbage":
            yield GARBAGE
        else:
            raise
    finally:
        if not interaction.background:
            interaction.task.cancel()
