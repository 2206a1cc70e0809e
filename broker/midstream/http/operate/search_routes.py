"""`GET /v1/operate/streams`: streams of all tenants, by what is true of them (PROTOCOL: Operate/Find)."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response

from midstream.http import page_cursor
from midstream.http.auth import AnOperator
from midstream.http.json_response import JsonResponse
from midstream.http.json_route import JsonRoute
from midstream.operate.search import Search

router = APIRouter(prefix="/v1/operate/streams", tags=["operate"], route_class=JsonRoute)

_OF_PAGES: Final = frozenset(("limit", "cursor"))
_NUMBER: Final = {"type": "number", "minimum": 0}
_CONDITIONS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "status": ("Only streams with this status or outcome.", {"type": "array", "items": {"type": "string"}}),
    "outcome": ("Only streams that ended so.", {"type": "array", "items": {"type": "string"}}),
    "code": ("Only streams that ended with this failure.", {"type": "array", "items": {"type": "string"}}),
    "model": ("Only streams of this model.", {"type": "array", "items": {"type": "string"}}),
    "thread": ("Only streams of this thread.", {"type": "array", "items": {"type": "string"}}),
    "user": ("Only streams of this user.", {"type": "array", "items": {"type": "string"}}),
    "tenant": ("Only streams of this tenant.", {"type": "array", "items": {"type": "string"}}),
    "older_than_s": ("Only streams that were created longer ago.", _NUMBER),
    "newer_than_s": ("Only streams that were created no longer ago.", _NUMBER),
    "silent_s": ("Only streams that have not ended and had no entry for longer than this.", _NUMBER),
    "attempts_over": ("Only streams with more attempts than this.", {"type": "integer", "minimum": 0}),
    "q": ("Only streams with this text in their ids, user, thread or metadata.", {"type": "string"}),
    "metadata": (
        "`metadata.<name>=<value>`: only streams with this piece of metadata.",
        {"type": "object", "additionalProperties": {"type": "string"}},
    ),
}


@router.get(
    "",
    response_class=Response,
    openapi_extra={
        "parameters": [
            {"name": name, "in": "query", "description": description, "schema": schema}
            for name, (description, schema) in _CONDITIONS.items()
        ]
    },
)
async def find_streams(
    request: Request,
    operator: AnOperator,
    limit: Annotated[int, Query(ge=1)] = 50,
    cursor: Annotated[str | None, Query(description="The `next_cursor` of the page before.")] = None,
) -> Response:
    """Find streams of all tenants, newest first, that every condition fits; a repeated one fits any of its values."""
    conditions = [(name, text) for name, text in request.query_params.multi_items() if name not in _OF_PAGES]
    limit = min(limit, operator.settings.page_limit)
    page, last = await Search(operator, conditions).page(limit, page_cursor.read(cursor))
    return JsonResponse({"data": page, "next_cursor": page_cursor.write(last)})
