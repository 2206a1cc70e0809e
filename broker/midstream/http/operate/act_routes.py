"""`/v1/operate/streams/{tenant}/{stream_id}`: what an operator does about one stream (PROTOCOL: Operate/Acts)."""

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from midstream.http.auth import AnOperator
from midstream.http.json_response import JsonResponse
from midstream.http.json_route import JsonRoute
from midstream.operate.act import Act, ActName
from midstream.operate.acts import Acts
from midstream.operate.operator import Operator
from midstream.service.listing import summary

router = APIRouter(prefix="/v1/operate/streams/{tenant}/{stream_id}", tags=["operate"], route_class=JsonRoute)

REASON_CHARS = 500


class RequeueOrder(BaseModel):
    """How to queue a stream again."""

    model_config = ConfigDict(extra="forbid")

    pay_again: bool = Field(
        default=False, description="`true`: make another call where the first one may have been paid"
    )


class SealOrder(BaseModel):
    """Why to seal a stream."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(
        min_length=1, max_length=REASON_CHARS, description="`error.message` in the stream's end, for its clients"
    )


class TrimOrder(BaseModel):
    """What to keep of a log."""

    model_config = ConfigDict(extra="forbid")

    first_offset: int | None = Field(
        default=None, ge=1, description="the first entry to keep; without it the end alone is kept"
    )


class RetainOrder(BaseModel):
    """How long to keep a stream."""

    model_config = ConfigDict(extra="forbid")

    ttl_s: int = Field(ge=1, description="seconds after its end, at most `MIDSTREAM_MAX_TTL_S`")


@router.post("/cancel", response_class=Response, status_code=202)
async def cancel(tenant: str, stream_id: str, operator: AnOperator) -> Response:
    """Stop a generation of any tenant's. A stream that has ended stays as it is."""
    return await _answer(operator, Act(ActName.CANCEL), tenant, stream_id, 202)


@router.post("/requeue", response_class=Response, responses={201: {"description": "Another stream has begun."}})
async def requeue(tenant: str, stream_id: str, operator: AnOperator, order: RequeueOrder | None = None) -> Response:
    """Write a queued stream's slip again, or begin a stream with the request of one that failed or was interrupted."""
    pay_again = order is not None and order.pay_again
    return await _answer(operator, Act(ActName.REQUEUE, pay_again=pay_again), tenant, stream_id, 200)


@router.post("/seal", response_class=Response)
async def seal(tenant: str, stream_id: str, order: SealOrder, operator: AnOperator) -> Response:
    """End a stream as `interrupted`, for a reason that its clients are shown."""
    return await _answer(operator, Act(ActName.SEAL, reason=order.reason), tenant, stream_id, 200)


@router.post("/trim", response_class=Response)
async def trim(tenant: str, stream_id: str, operator: AnOperator, order: TrimOrder | None = None) -> Response:
    """Drop the first entries of a stream that has ended."""
    first_offset = order.first_offset if order is not None else None
    return await _answer(operator, Act(ActName.TRIM, first_offset=first_offset), tenant, stream_id, 200)


@router.post("/retain", response_class=Response)
async def retain(tenant: str, stream_id: str, order: RetainOrder, operator: AnOperator) -> Response:
    """Set how long a stream is kept after its end. One that ended longer ago than that expires at once."""
    return await _answer(operator, Act(ActName.RETAIN, ttl_s=order.ttl_s), tenant, stream_id, 200)


@router.delete("", response_class=Response, status_code=204)
async def delete(tenant: str, stream_id: str, operator: AnOperator) -> Response:
    """Delete a stream of any tenant's. A stream that still runs is cancelled first."""
    return await _answer(operator, Act(ActName.DELETE), tenant, stream_id, 204)


async def _answer(operator: Operator, act: Act, tenant: str, stream_id: str, status: int) -> Response:
    done = await Acts(operator).do(act, tenant, stream_id)
    headers = {"Stream-Id": done.stream_id}
    if done.state is None:
        return Response(status_code=status, headers=headers)
    document = {"tenant": tenant, **summary(done.stream_id, done.state), "first": done.state.first}
    if done.stream_id != stream_id:
        document["requeued_from"] = stream_id
    return JsonResponse(document, 201 if done.is_new else status, headers)
