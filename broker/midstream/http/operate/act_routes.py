"""`/v1/operate/streams/{tenant}/{stream_id}/…`: what an operator does about one stream (PROTOCOL: Operate/Acts)."""

from fastapi import APIRouter, Response

from midstream.http.auth import AnOperator
from midstream.http.json_response import JsonResponse
from midstream.http.json_route import JsonRoute
from midstream.operate.acts import Acts
from midstream.service.listing import summary

router = APIRouter(prefix="/v1/operate/streams/{tenant}/{stream_id}", tags=["operate"], route_class=JsonRoute)


@router.post("/cancel", response_class=Response, status_code=202)
async def cancel(tenant: str, stream_id: str, operator: AnOperator) -> Response:
    """Stop a generation of any tenant's. A stream that has ended stays as it is."""
    state = await Acts(operator).cancel(tenant, stream_id)
    return JsonResponse({"tenant": tenant, **summary(stream_id, state)}, 202, {"Stream-Id": stream_id})
