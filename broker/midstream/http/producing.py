"""What an external producer asks for, by HTTP and on a WebSocket (PROTOCOL: Produce/Http, Ws/Producers)."""

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from midstream.access.grant import Scope
from midstream.http.problems import Problem
from midstream.log.keys import new_id
from midstream.requests.request import GenerationRequest, UnfitRequestError
from midstream.service.caller import Caller
from midstream.service.entry_lines import entries_of
from midstream.service.external_producer import ExternalProducer
from midstream.service.stream_handle import StreamHandle

MOST_ENTRIES: Final = 1_000
"""Entries of one request."""
OWNER: Final = r"^[A-Za-z0-9._:-]{16,64}$"

Facts = dict[str, Any]


class SealRequest(BaseModel):
    """How the stream ends."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    outcome: Literal["completed", "failed", "interrupted"] = "completed"
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter", "refusal"] = Field(
        default="stop", description="Of a completed stream."
    )
    message: str = Field(default="", max_length=500, description="Why it failed, for clients. Never a secret.")
    usage: dict[str, Any] | None = Field(default=None, description="`input_tokens`, `output_tokens` and `details`.")
    code: Literal["step_unknown", "step_failed"] | None = Field(
        default=None, description="Of a stream that a step of unknown result has `interrupted` or `failed`."
    )


async def begin(
    caller: Caller, request: GenerationRequest, key: str | None, owner: str | None, *, take_up: bool
) -> tuple[StreamHandle, bool, Facts]:
    """Start a stream and claim it; return it, whether it is new, and its fence, with `take_up` also its steps."""
    owner = owner or new_id()
    if take_up and key is None:
        raise UnfitRequestError("A key is taken up: send an idempotency key.")
    stream, is_new, steps = await caller.streams.produce(request, key, owner, take_up=take_up)
    fence: Facts = {"owner": owner, "lease_ms": caller.settings.lease_ms}
    return stream, is_new, fence | ({"steps": steps} if take_up else {})


async def append(caller: Caller, stream_id: str, epoch: int, owner: str, tail: int, lines: list[Any]) -> Facts:
    """Append entries after offset `tail`, and renew the lease."""
    if not 0 < len(lines) <= MOST_ENTRIES:
        raise Problem(400, "bad_request", f"Send 1 to {MOST_ENTRIES} entries, one in each line.", errors=[])
    entries = entries_of(lines, caller.settings.step_bytes)
    new_tail, repeated = await (await _producer(caller, stream_id, epoch, owner)).append(tail, entries)
    return {"tail": new_tail, "repeated": repeated, "lease_ms": caller.settings.lease_ms}


async def renew(caller: Caller, stream_id: str, epoch: int, owner: str) -> Facts:
    """Keep the stream for one more lease."""
    tail = await (await _producer(caller, stream_id, epoch, owner)).renew()
    return {"tail": tail, "lease_ms": caller.settings.lease_ms}


async def seal(caller: Caller, stream_id: str, epoch: int, owner: str, tail: int, how: SealRequest) -> Facts:
    """End the stream after offset `tail`."""
    producer = await _producer(caller, stream_id, epoch, owner)
    reason = how.finish_reason if how.outcome == "completed" else None
    usage = None if how.usage is None else entries_of([how.usage | {"type": "usage"}], 0)[0].data
    state = await producer.seal_as(how.outcome, tail, how.message, reason, usage, how.code)
    return {"tail": state.tail, "outcome": state.outcome}


async def _producer(caller: Caller, stream_id: str, epoch: int, owner: str) -> ExternalProducer:
    stream = await caller.streams.find(stream_id, Scope.SEND)
    return stream.producer(epoch, owner)
