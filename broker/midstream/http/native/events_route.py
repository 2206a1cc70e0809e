"""`GET /v1/streams/{id}/events`: the log as server-sent events (PROTOCOL: Reading)."""

import logging
import re
from collections.abc import Mapping
from typing import Annotated, Final

from fastapi import APIRouter, FastAPI, Header, Query, Response
from starlette.datastructures import Headers, QueryParams
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from midstream.faces.native import NativeFace
from midstream.faces.sse_frames import with_retry
from midstream.http import request_ids
from midstream.http.auth import ACaller, caller_of
from midstream.http.problems import Problem, problem_of
from midstream.http.tails.event_response import EventResponse
from midstream.hub.follower import Follower
from midstream.service.caller import Caller
from midstream.settings import Settings

logger = logging.getLogger(__name__)

router = APIRouter(tags=["streams"])

NATIVE: Final = NativeFace()
MAX_CURSOR_DIGITS: Final = 15
_EVENTS_PATH: Final = re.compile(r"/v1/streams/([^/]+)/events")


def cursor(header: str | None, query: str | None) -> int:
    """Return the offset to read behind; `Last-Event-ID` wins over `?after=` (PROTOCOL: Read/After).

    Raises:
        Problem: 400 `bad_cursor`.
    """
    given = header or query
    if not given:
        return 0
    if not (given.isascii() and given.isdigit()) or len(given) > MAX_CURSOR_DIGITS:
        where = "Last-Event-ID" if header else "after"
        raise Problem(400, "bad_cursor", f"{where} must be an offset: decimal digits.", cursor=given[:64])
    return int(given)


def events(
    follower: Follower, settings: Settings, *, after: int, follow: bool = True, status: int = 200
) -> EventResponse:
    """Join a tail to a follower that is held, and return the response that sends it natively.

    Raises:
        Problem: 410 `cursor_trimmed`.
    """
    reset = None
    if after > follower.tail:
        reset = "cursor_ahead"
    elif after + 1 < follower.first:
        detail = f"The entries before offset {follower.first} are gone."
        raise Problem(410, "cursor_trimmed", detail, first_offset=follower.first, reason="trimmed")
    return EventResponse(
        follower.join(NATIVE, after, None if follow else follower.tail),
        reset=reset,
        opening=with_retry(settings.retry_ms),
        send_timeout_s=settings.send_timeout_ms / 1000,
        status=status,
    )


@router.get(
    "/v1/streams/{stream_id}/events",
    response_class=Response,
    responses={
        200: {
            "content": {
                "text/event-stream": {"example": 'id: 2\nevent: text\ndata: {"type":"text","text":"Hello"}\n\n'}
            },
            "description": "The entries after the cursor and all that follow, up to the `end` event.",
        },
        204: {"description": "The stream has ended, and the cursor is at its tail. This answer stops an EventSource."},
        404: {"description": "`stream_not_found`"},
        410: {"description": "`cursor_trimmed`: the entries after the cursor are gone."},
    },
)
async def get_events(
    stream_id: str,
    caller: ACaller,
    last_event_id: Annotated[
        str | None, Header(description="The last offset that you have. It wins over `after`.")
    ] = None,
    after: Annotated[str | None, Query(description="The last offset that you have.")] = None,
    follow: Annotated[bool, Query(description="`false`: stop at the tail instead of waiting for more entries.")] = True,
) -> Response:
    """Tail a stream: replay the entries after the cursor, then follow."""
    return await _answer(caller, stream_id, cursor(last_event_id, after), follow=follow)


async def _answer(caller: Caller, stream_id: str, after: int, *, follow: bool) -> Response:
    async with caller.streams.follow(stream_id, after) as follower:
        if follower.ended and after == follower.tail:
            return Response(status_code=204, headers={"Stream-Id": stream_id})
        return events(follower, caller.settings, after=after, follow=follow)


class FastLane:
    """Answers `GET …/events` as `get_events` does, ahead of the app, its layers and FastAPI's reading of parameters.

    All tails come back at once after a deploy, and stay for long: those layers are three quarters of what a request
    costs, and their frames most of what an idle tail keeps. What is asked for seldom takes the road: `follow`, and
    pages of another origin, for which the app has rules.
    """

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass the request on."""
        response = await self._response(scope) if scope["type"] == "http" and scope["method"] == "GET" else None
        await (self._app if response is None else response)(scope, receive, send)

    async def _response(self, scope: Scope) -> Response | None:
        found = _EVENTS_PATH.fullmatch(scope["path"])
        if found is None:
            return None
        query: Mapping[str, str] = QueryParams(scope["query_string"]) if scope["query_string"] else {}
        headers = Headers(scope=scope)
        if "follow" in query or "origin" in headers:
            return None
        scope["app"] = self._app
        response = await self._answered(scope, found[1], headers, query)
        request_ids.add_to(scope, response.raw_headers)
        return response

    async def _answered(self, scope: Scope, stream_id: str, headers: Headers, query: Mapping[str, str]) -> Response:
        try:
            caller = caller_of(HTTPConnection(scope))
            behind = cursor(headers.get("last-event-id"), query.get("after"))
            return await _answer(caller, stream_id, behind, follow=True)
        except Exception as error:
            problem = problem_of(error)
            if problem.code == "internal":
                logger.exception("%s could not be answered", scope["path"])
            return problem.response(scope)
