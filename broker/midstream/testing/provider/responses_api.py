"""OpenAI Responses: create, stream, run in the background, read again, cancel."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from midstream.testing.provider.chat_api import error_body, refused
from midstream.testing.provider.event_stream import EventStream, json_answer
from midstream.testing.provider.kept import Kept, shelf_of
from midstream.testing.provider.ledger import Call, Ledger, now_ms
from midstream.testing.provider.response_frames import Writer
from midstream.testing.provider.script import Broken, play
from midstream.testing.provider.start import Started, start
from midstream.testing.provider.strictness import refuse_response

Json = dict[str, Any]

_ABSENT = "Response not found."


class Generation(Kept):
    """One response."""

    type_field = "type"
    last_types = ("response.completed", "response.incomplete")

    def __init__(self, response_id: str, started: Started) -> None:
        super().__init__(response_id, started)
        self.writer = Writer(response_id, self.script, started.body)
        self._begin(self.writer.begin(), started.fail)

    def whole(self) -> Json:
        """Return the response as it is now."""
        last: Json | None = self.events[-1].get("response")
        return last if last and self.status != "in_progress" else self.writer.response(self.status)

    async def _generate(self, fail: str | None) -> None:
        try:
            async for step in play(self.script, fail):
                self._add(self.writer.write(step))
        except Broken as broken:
            error = {"code": self.script.error_code or "server_error", "message": "it broke, as the script says"}
            if broken.fail == "failed_event":
                self._add([self.writer.fail("failed", error)], "failed")
            else:
                self._add([{"type": "error", "param": None, **error}], "failed")
        else:
            self._add(self.writer.end(), "incomplete" if self.script.finish != "stop" else "completed")

    def _end_cancelled(self) -> None:
        self._add([self.writer.fail("cancelled", None)], "cancelled")

    def _place(self, number: int) -> Json:
        return {"sequence_number": number}


def _refuse(_: Request, body: Json) -> Json | None:
    refusal = refuse_response(body)
    return refused(refusal) if refusal else None


async def create(request: Request) -> Response:
    """`POST /v1/responses`."""
    started = await start(request, "responses", "input", error_body, _refuse)
    if isinstance(started, Response):
        return started
    generation = Generation(f"resp_{started.call.number}_{int(now_ms())}", started)
    return await shelf_of(request).answer(generation, started)


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
    generation = shelf_of(request).get(request.path_params["response_id"])
    call = ledger.enter("retrieve", dict(request.query_params), billed=False)
    if generation is None:
        return _refused(call, 404, _ABSENT)
    call.upstream_id = generation.id
    if request.query_params.get("stream") != "true":
        return json_answer(generation.whole(), call)
    if not generation.background:
        return _refused(call, 400, "This response cannot be streamed: it was not created with background=true.")
    if generation.is_too_old:
        old = "This response can no longer be streamed because it is more than 5 minutes old."
        return _refused(call, 400, old)
    skipped = int(request.query_params.get("starting_after", -1)) + 1
    return EventStream(generation.frames(call, ledger.take_failure(generation.script), skipped), call)


async def cancel(request: Request) -> Response:
    """`POST /v1/responses/{response_id}/cancel`."""
    in_foreground = "Only background responses can be cancelled."
    return shelf_of(request).cancel(request.path_params["response_id"], error_body, _ABSENT, in_foreground)


def _refused(call: Call, status: int, message: str) -> Response:
    call.status = status
    return json_answer(error_body(status, message, None), call)
