"""`/v1/streams/{id}`: entries, lease and seal of an external producer, for programs in any language."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from midstream.access.grant import Scope
from midstream.http.auth import ACaller
from midstream.http.json_response import JsonResponse
from midstream.http.json_route import JsonRoute, read_json
from midstream.http.problems import Problem
from midstream.service.caller import Caller
from midstream.service.entry_lines import entries_of
from midstream.service.external_producer import ExternalProducer

router = APIRouter(prefix="/v1/streams/{stream_id}", tags=["producers"], route_class=JsonRoute)

MOST_ENTRIES: Final = 1_000
"""Entries of one request."""
OWNER: Final = r"^[A-Za-z0-9._:-]{16,64}$"

Epoch = Annotated[int, Header(ge=1, alias="Stream-Epoch", description="The epoch of the start's answer.")]
Owner = Annotated[str, Header(pattern=OWNER, alias="Stream-Owner", description="The owner of the start's answer.")]
Tail = Annotated[int, Header(ge=0, alias="Stream-Tail", description="The stream's last offset, as you know it.")]
NDJSON: Any = {"requestBody": {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}, "required": True}}


class SealRequest(BaseModel):
    """How the stream ends."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    outcome: Literal["completed", "failed", "interrupted"] = "completed"
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter", "refusal"] = Field(
        default="stop", description="Of a completed stream."
    )
    message: str = Field(default="", max_length=500, description="Why it failed, for clients. Never a secret.")
    usage: dict[str, Any] | None = Field(default=None, description="`input_tokens`, `output_tokens` and `details`.")


@router.post("/entries", response_class=Response, openapi_extra=NDJSON)
async def post_entries(
    stream_id: str, request: Request, caller: ACaller, epoch: Epoch, owner: Owner, tail: Tail
) -> Response:
    """Append entries, one JSON object in each line, and renew the lease."""
    lines = [line for line in (await request.body()).split(b"\n") if line.strip()]
    if not 0 < len(lines) <= MOST_ENTRIES:
        raise Problem(400, "bad_request", f"Send 1 to {MOST_ENTRIES} entries, one in each line.", errors=[])
    depth = caller.settings.max_depth
    entries = entries_of([read_json(line, depth) for line in lines])
    new_tail, repeated = await (await _producer(caller, stream_id, epoch, owner)).append(tail, entries)
    return _answer(stream_id, caller, tail=new_tail, repeated=repeated)


@router.post("/lease", response_class=Response)
async def renew_lease(stream_id: str, caller: ACaller, epoch: Epoch, owner: Owner) -> Response:
    """Keep the stream for one more lease."""
    tail = await (await _producer(caller, stream_id, epoch, owner)).renew()
    return _answer(stream_id, caller, tail=tail)


@router.post("/seal", response_class=Response)
async def seal_stream(
    stream_id: str, body: SealRequest, caller: ACaller, epoch: Epoch, owner: Owner, tail: Tail
) -> Response:
    """End the stream."""
    producer = await _producer(caller, stream_id, epoch, owner)
    reason = body.finish_reason if body.outcome == "completed" else None
    usage = None if body.usage is None else entries_of([body.usage | {"type": "usage"}])[0].data
    state = await producer.seal_as(body.outcome, tail, body.message, reason, usage)
    return JsonResponse({"tail": state.tail, "outcome": state.outcome}, headers={"Stream-Id": stream_id})


async def _producer(caller: Caller, stream_id: str, epoch: int, owner: str) -> ExternalProducer:
    stream = await caller.streams.find(stream_id, Scope.SEND)
    return stream.producer(epoch, owner)


def _answer(stream_id: str, caller: Caller, **facts: Any) -> Response:
    return JsonResponse(facts | {"lease_ms": caller.settings.lease_ms}, headers={"Stream-Id": stream_id})
