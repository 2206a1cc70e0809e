"""`POST /v1/operate/workers/{name}/drain`, and the same of brokers (PROTOCOL: Operate/Drain)."""

from fastapi import APIRouter, Response

from midstream.http.auth import AnOperator
from midstream.http.json_response import JsonResponse
from midstream.http.json_route import JsonRoute
from midstream.operate.drain import drain

router = APIRouter(prefix="/v1/operate", tags=["operate"], route_class=JsonRoute)


@router.post("/workers/{name}/drain", response_class=Response, status_code=202)
async def drain_worker(name: str, operator: AnOperator) -> Response:
    """Have a worker take no more streams, finish or hand over what it runs, and end."""
    await drain(operator, "worker", name)
    return JsonResponse({"name": name, "asked_to_drain": True}, 202)


@router.post("/brokers/{name}/drain", response_class=Response, status_code=202)
async def drain_broker(name: str, operator: AnOperator) -> Response:
    """Have a broker part from its tails, whose clients come back elsewhere, and end."""
    await drain(operator, "broker", name)
    return JsonResponse({"name": name, "asked_to_drain": True}, 202)
