"""`GET /v1/operate/costs`: what streams have cost, summed up (PROTOCOL: Money/Sums)."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query, Response

from midstream.http.auth import AnOperator
from midstream.http.json_response import JsonResponse
from midstream.http.json_route import JsonRoute
from midstream.http.problems import Problem
from midstream.operate.spendings import By, PeriodError, spendings

router = APIRouter(tags=["operate"], route_class=JsonRoute)


@router.get("/v1/operate/costs", response_class=Response)
async def get_costs(
    operator: AnOperator,
    by: Annotated[By, Query(description="What each sum is of.")] = "tenant",
    first: Annotated[date | None, Query(alias="from", description="The first day, by UTC.")] = None,
    last: Annotated[date | None, Query(alias="to", description="The last day; without it today.")] = None,
    tenant: Annotated[str | None, Query(max_length=64, description="Only of this tenant.")] = None,
) -> Response:
    """Show what streams have cost on some days, the largest sum first. Amounts are decimal numbers as text."""
    try:
        return JsonResponse(await spendings(operator, by, first, last, tenant))
    except PeriodError as error:
        raise Problem(400, "bad_request", str(error)) from None
