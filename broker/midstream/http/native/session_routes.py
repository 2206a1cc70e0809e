"""`/v1/session`: a page's session, by a cookie that its scripts cannot read (PROTOCOL: Access/Cookie)."""

from typing import Final

from fastapi import APIRouter, Request, Response

from midstream.http.auth import ACaller, AServices
from midstream.http.cors import is_foreign
from midstream.http.json_route import JsonRoute
from midstream.http.page_guard import foreign_page
from midstream.http.session_cookie import set_cookie

router = APIRouter(tags=["access"], route_class=JsonRoute)
UNSTORED: Final = {"Cache-Control": "no-store"}


@router.post(
    "/v1/session",
    status_code=204,
    response_class=Response,
    responses={204: {"description": "`Set-Cookie` holds the session."}},
)
async def post_session(request: Request, caller: ACaller) -> Response:
    """Let a page go on by a cookie with what its key or token opens, to `MIDSTREAM_SESSION_TTL_S` or its end."""
    token, max_age_s = caller.session(caller.settings.session_ttl_s)
    return Response(status_code=204, headers=UNSTORED | {"Set-Cookie": set_cookie(request, token, max_age_s)})


@router.delete("/v1/session", status_code=204, response_class=Response)
async def delete_session(request: Request, services: AServices) -> Response:
    """Clear the cookie, also one whose session is over."""
    if is_foreign(request, services.settings):
        raise foreign_page()
    return Response(status_code=204, headers=UNSTORED | {"Set-Cookie": set_cookie(request, "", 0)})
