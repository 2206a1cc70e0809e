"""`GET /v1/operate/audit`: what operators have done (PROTOCOL: Operate/Audit)."""

import re
from typing import Annotated, Final

from fastapi import APIRouter, Query, Response

from midstream.http.auth import AnOperator
from midstream.http.json_response import JsonResponse
from midstream.http.json_route import JsonRoute
from midstream.http.problems import Problem

router = APIRouter(tags=["operate"], route_class=JsonRoute)

_ROW_ID: Final = re.compile("[0-9]{1,15}-[0-9]{1,15}")


@router.get("/v1/operate/audit", response_class=Response)
async def get_audit(
    operator: AnOperator,
    after: Annotated[str | None, Query(description="The `id` of a row: only later ones, oldest first.")] = None,
    limit: Annotated[int, Query(ge=1)] = 100,
) -> Response:
    """Show what operators have done. Without `after` the newest rows are shown, the oldest of them first."""
    if after is not None and not _ROW_ID.fullmatch(after):
        raise Problem(400, "bad_cursor", "after must be a row's `id`.", cursor=after[:64])
    limit = min(limit, operator.settings.page_limit)
    trail = operator.resources.trail
    rows = await (trail.newest(limit) if after is None else trail.after(after, limit))
    return JsonResponse({"data": [{"id": row.id, "time_ms": row.time_ms, **row.facts} for row in rows]})
