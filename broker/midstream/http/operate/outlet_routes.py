"""`/v1/operate/outlets`: webhooks and the hook, as operators see them (PROTOCOL: Ends/Seen)."""

from fastapi import APIRouter, Response

from midstream.http.auth import AnOperator
from midstream.http.json_response import JsonResponse
from midstream.http.json_route import JsonRoute
from midstream.http.problems import Problem
from midstream.operate import outlets
from midstream.operate.outlets import OutletAbsent

router = APIRouter(prefix="/v1/operate/outlets", tags=["operate"], route_class=JsonRoute)


@router.get("", response_class=Response)
async def get_outlets(operator: AnOperator) -> Response:
    """List who is told of ends, and how many ends wait for each."""
    return JsonResponse(await outlets.outlets(operator))


@router.get("/{outlet}", response_class=Response)
async def get_outlet(outlet: str, operator: AnOperator) -> Response:
    """Show a webhook or the hook, with the streams whose ends were given up."""
    try:
        return JsonResponse(await outlets.outlet(operator, outlet))
    except OutletAbsent:
        raise _absent(outlet) from None


@router.post("/{outlet}/again", response_class=Response)
async def send_again(outlet: str, operator: AnOperator) -> Response:
    """Deliver all ends that were given up once more."""
    try:
        return JsonResponse({"name": outlet, "sent": await outlets.send_again(operator, outlet)})
    except OutletAbsent:
        raise _absent(outlet) from None


def _absent(outlet: str) -> Problem:
    return Problem(404, "outlet_not_found", "No process has named such an outlet.", outlet=outlet[:64])
