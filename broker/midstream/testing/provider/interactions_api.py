"""Gemini's Interactions: create, stream, run in the background, read again, cancel.

From Google's documentation and the types of its SDK: the paths, the fields, the events and their order, `[DONE]`,
opaque event ids, `last_event_id`, that `background` wants what is stored, that only what runs in the background is
cancelled, and that a stored interaction lists the steps that it was sent before its own. From reports of its users: a
connection is cut with an `error` event `gateway_timeout` while the interaction goes on. The words and statuses of
refusals are those of Google's other APIs; that they are these here, and what `max_age_ms` does, are assumptions.
"""

import base64
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from starlette.requests import Request
from starlette.responses import Response

from midstream.testing.provider.event_stream import EventStream, frame, json_answer
from midstream.testing.provider.interaction_steps import Steps
from midstream.testing.provider.kept import Kept, shelf_of
from midstream.testing.provider.ledger import Call, Ledger, now_ms
from midstream.testing.provider.refused_interactions import refuse_interaction
from midstream.testing.provider.script import Broken, play
from midstream.testing.provider.start import Started, start

Json = dict[str, Any]

_ABSENT = "Requested entity was not found."
_DEADLINE = {"code": "gateway_timeout", "message": "Deadline expired before operation could complete."}
_STATUSES = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"} | {
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def error_body(status: int, message: str, code: str | None) -> Json:
    """Return the body of an error in the words of this dialect."""
    default = "INVALID_ARGUMENT" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "UNKNOWN"
    return {"error": {"code": status, "message": message, "status": code or _STATUSES.get(status, default)}}


class Interaction(Kept):
    """One interaction."""

    type_field = "event_type"
    last_types = ("interaction.completed",)
    last_frames = (frame("[DONE]", "done"),)
    broken_frames: ClassVar[Mapping[str, bytes]] = {
        **Kept.broken_frames,
        "cut_event": frame({"event_type": "error", "error": _DEADLINE}, "error"),
    }

    def __init__(self, interaction_id: str, started: Started) -> None:
        super().__init__(interaction_id, started)
        self.steps = Steps(self.script)
        status = {"event_type": "interaction.status_update", "interaction_id": self.id, "status": self.status}
        self._begin([{"event_type": "interaction.created", "interaction": self.brief()}, status], started.fail)

    def brief(self, **more: Any) -> Json:
        """Return what events hold of it."""
        return {"id": self.id, "object": "interaction", "status": self.status, "model": self.body["model"], **more}

    def whole(self) -> Json:
        """Return it as it is stored now."""
        errors = {"errors": [self._error]} if self.status == "failed" else {}
        steps = [*self.body["input"], *self.steps.made]
        return self.brief(steps=steps, usage=self.steps.usage(), **errors)

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
                self._add([{"event_type": "error", "error": self._error}], "failed")
            return
        self._add(self.steps.end())
        ended = "requires_action" if self.script.tool else "completed"
        self._end(ended if self.script.finish == "stop" else "incomplete", usage=self.steps.usage())

    def _end(self, status: str, **more: Any) -> None:
        last = {"event_type": "interaction.completed", "interaction": self.brief(**more) | {"status": status}}
        self._add([last], status)

    def _end_cancelled(self) -> None:
        self._end("cancelled")

    def _place(self, number: int) -> Json:
        return {"event_id": base64.urlsafe_b64encode(f"{self.id}:{number}".encode()).decode()}


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
    return await shelf_of(request).answer(interaction, started)


async def retrieve(request: Request) -> Response:
    """`GET /v1/interactions/{interaction_id}`."""
    ledger: Ledger = request.app.state.ledger
    interaction = shelf_of(request).get(request.path_params["interaction_id"])
    query = dict(request.query_params)
    call = ledger.enter("retrieve" if query.get("stream") == "true" else "look", query, billed=False)
    if interaction is None or interaction.body.get("store") is False:
        return _refused(call, 404, _ABSENT)
    call.upstream_id = interaction.id
    if query.get("stream") != "true":
        if "last_event_id" in query:
            return _refused(call, 400, "`last_event_id` can only be used if `stream` is true.")
        return json_answer(interaction.whole(), call)
    if interaction.is_too_old:
        return _refused(call, 400, "This interaction can no longer be streamed.")
    skipped = 0
    if (after := query.get("last_event_id")) is not None:
        places = [event["event_id"] for event in interaction.events]
        if after not in places:
            return _refused(call, 400, "Request contains an invalid argument.")
        skipped = places.index(after) + 1
    return EventStream(interaction.frames(call, ledger.take_failure(interaction.script), skipped), call)


async def cancel(request: Request) -> Response:
    """`POST /v1/interactions/{interaction_id}/cancel`."""
    in_foreground = "Only background interactions can be cancelled."
    return shelf_of(request).cancel(request.path_params["interaction_id"], error_body, _ABSENT, in_foreground)


def _refused(call: Call, status: int, message: str) -> Response:
    call.status = status
    return json_answer(error_body(status, message, None), call)
