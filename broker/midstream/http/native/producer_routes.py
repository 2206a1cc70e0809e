"""`/v1/streams/{id}`: entries, lease and seal of an external producer, for programs in any language."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response

from midstream.http.auth import ACaller
from midstream.http.json_response import JsonResponse
from midstream.http.json_route import JsonRoute, read_json
from midstream.http.producing import MOST_ENTRIES, OWNER, Facts, SealRequest, append, renew, seal

router = APIRouter(prefix="/v1/streams/{stream_id}", tags=["producers"], route_class=JsonRoute)

Epoch = Annotated[int, Header(ge=1, alias="Stream-Epoch", description="The epoch of the start's answer.")]
Owner = Annotated[str, Header(pattern=OWNER, alias="Stream-Owner", description="The owner of the start's answer.")]
Tail = Annotated[int, Header(ge=0, alias="Stream-Tail", description="The stream's last offset, as you know it.")]
NDJSON: Any = {"requestBody": {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}, "required": True}}


@router.post("/entries", response_class=Response, openapi_extra=NDJSON)
async def post_entries(
    stream_id: str, request: Request, caller: ACaller, epoch: Epoch, owner: Owner, tail: Tail
) -> Response:
    """Append entries, one JSON object in each line, and renew the lease."""
    depth = caller.settings.max_depth
    lines = [line for line in (await request.body()).split(b"\n") if line.strip()]
    # One line too many tells that there are too many; no more are read.
    values = [read_json(line, depth) for line in lines[: MOST_ENTRIES + 1]]
    return _answer(stream_id, await append(caller, stream_id, epoch, owner, tail, values))


@router.post("/lease", response_class=Response)
async def renew_lease(stream_id: str, caller: ACaller, epoch: Epoch, owner: Owner) -> Response:
    """Keep the stream for one more lease."""
    return _answer(stream_id, await renew(caller, stream_id, epoch, owner))


@router.post("/seal", response_class=Response)
async def seal_stream(
    stream_id: str, body: SealRequest, caller: ACaller, epoch: Epoch, owner: Owner, tail: Tail
) -> Response:
    """End the stream."""
    return _answer(stream_id, await seal(caller, stream_id, epoch, owner, tail, body))


def _answer(stream_id: str, facts: Facts) -> Response:
    return JsonResponse(facts, headers={"Stream-Id": stream_id})
