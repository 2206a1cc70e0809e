"""`GET /v1/streams/{id}/events`: the log as server-sent events (PROTOCOL: Reading)."""

import logging
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from fastapi import FastAPI, Request, Response
from pydantic import Field, TypeAdapter, ValidationError
from starlette.datastructures import QueryParams
from starlette.routing import Route, compile_path
from starlette.types import Receive, Scope, Send

from midstream.faces.face import Face
from midstream.faces.native import NativeFace
from midstream.faces.native_objects import NativeObjectsFace
from midstream.faces.sse_frames import with_retry
from midstream.http import request_ids
from midstream.http.auth import caller_in
from midstream.http.head import head_of
from midstream.http.noted_errors import noted
from midstream.http.problems import Problem, misfit
from midstream.http.tails.event_response import EventResponse
from midstream.service.caller_follower import CallerFollower
from midstream.settings import Settings

logger = logging.getLogger(__name__)

PATH: Final = "/v1/streams/{stream_id}/events"
NATIVE: Final = NativeFace()
WITH_STEPS: Final = NativeFace(with_steps=True)
MAX_CURSOR_DIGITS: Final = 15
MOST_CHARS_PER_S: Final = 100_000
_EVENTS_PATH: Final = compile_path(PATH)[0]
_BOOL: Final = TypeAdapter(bool)
_JSON: Final[TypeAdapter[str]] = TypeAdapter(Literal["json"])
_CATCHUP: Final[TypeAdapter[str]] = TypeAdapter(Literal["plain", "coalesced"])
_PACE: Final[TypeAdapter[float]] = TypeAdapter(Annotated[float, Field(ge=1, le=MOST_CHARS_PER_S)])


def cursor(last_event_id: bytes | None, query: str | None) -> int:
    """Return the offset to read after; `Last-Event-ID` wins over `?after=` (PROTOCOL: Read/After).

    Raises:
        Problem: 400 `bad_cursor`.
    """
    text = last_event_id.decode("latin-1") if last_event_id else query
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()) or len(text) > MAX_CURSOR_DIGITS:
        where = "Last-Event-ID" if last_event_id else "after"
        raise Problem(400, "bad_cursor", f"{where} must be an offset: decimal digits.", cursor=text[:64])
    return int(text)


def events(
    follower: CallerFollower,
    settings: Settings,
    *,
    after: int,
    follow: bool = True,
    face: Face[Any] = NATIVE,
    pace: float | None = None,
    merges: bool = False,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> EventResponse:
    """Join a tail to a follower that is held, and return the response that sends it natively.

    Where it `merges`, what is logged now is sent in merged entries.

    Raises:
        LogTrimmed: The entries after the cursor are gone.
    """
    reset = "cursor_ahead" if after > follower.tail else None
    until = None if follow else follower.tail
    if merges and isinstance(face, NativeFace):
        tail = follower.join_merged(face, after, until)
    else:
        tail = follower.join(face, after, until, pace=pace)
    return EventResponse(
        tail,
        reset=reset,
        opening=with_retry(settings.retry_ms),
        settings=settings,
        status=status,
        headers=headers,
    )


async def get_events(scope: Scope) -> Response:
    """Tail a stream: replay the entries after the cursor, then follow."""
    caller = await caller_in(scope)
    stream_id: str = scope["path_params"]["stream_id"]
    query: Mapping[str, str] = QueryParams(scope["query_string"]) if scope["query_string"] else {}
    after = cursor(head_of(scope).get(b"last-event-id"), query.get("after"))
    follows, pace, merges = True, None, False
    face: Face[Any] = NATIVE
    if query:  # most tails come back without one
        follows, pace = _truth(query, "follow", default=True), _pace(query)
        if steps := _truth(query, "steps", default=False):
            caller.streams.require_whole_tenant()
        face = _face(query, caller.settings, steps=steps)
        merges = _merges(query)
    async with caller.streams.follow(stream_id, after) as follower:
        if follower.ended and after == follower.tail:
            return Response(status_code=204, headers={"Stream-Id": stream_id})
        return events(follower, caller.settings, after=after, follow=follows, face=face, pace=pace, merges=merges)


def _face(query: Mapping[str, str], settings: Settings, *, steps: bool) -> Face[Any]:
    native, partial = WITH_STEPS if steps else NATIVE, query.get("partial")
    if partial is None:
        return native
    _validated(_JSON, query, "partial")
    return NativeObjectsFace(native, settings.structured_bytes)


def _merges(query: Mapping[str, str]) -> bool:
    if query.get("catchup") is None or _validated(_CATCHUP, query, "catchup") == "plain":
        return False
    if other := next((name for name in ("pace", "partial") if name in query), None):
        message = f"with `{other}` entries are sent one by one"
        raise misfit([{"type": "value_error", "loc": ("query", "catchup"), "msg": message}])
    return True


def _pace(query: Mapping[str, str]) -> float | None:
    return None if query.get("pace") is None else float(_validated(_PACE, query, "pace"))


def _truth(query: Mapping[str, str], name: str, *, default: bool) -> bool:
    return default if query.get(name) is None else bool(_validated(_BOOL, query, name))


def _validated(adapter: TypeAdapter[Any], query: Mapping[str, str], name: str) -> Any:
    try:
        return adapter.validate_python(query[name])
    except ValidationError as error:
        raise misfit([{**fault, "loc": ("query", name)} for fault in error.errors()]) from error


async def _response(scope: Scope) -> Response:
    """Answer a request, an error as its problem."""
    try:
        response = await get_events(scope)
    except Exception as error:
        problem = noted(error, scope)
        if problem.code == "internal":
            logger.exception("a request for events could not be answered")
        return problem.response(scope)
    response.raw_headers += request_ids.headers_of(scope)
    return response


def install(app: FastAPI) -> None:
    """Keep a route for the path, which refuses other methods: what `is_for` names comes to `answer`, and not here."""

    async def endpoint(request: Request) -> Response:
        return await _response(request.scope)

    route = Route(PATH, endpoint)
    route.methods = {"GET"}  # not HEAD, which Starlette adds (PROTOCOL: Read/Bare)
    app.router.routes.insert(0, route)


def is_for(scope: Scope) -> bool:
    """Tell whether a request is for this endpoint, whose path's parameters the scope then holds."""
    match = _EVENTS_PATH.match(scope["path"]) if scope["type"] == "http" and scope["method"] == "GET" else None
    if match is None:
        return False
    scope["path_params"] = match.groupdict()
    return True


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request past FastAPI, with the fast path and without it. Tails of other formats pass its layers.

    All tails come back at once after a deploy, and these layers cost more than all the rest of the way.
    """
    response = await _response(scope)
    await response(scope, receive, send)


DESCRIPTION: Final[dict[str, Any]] = {
    "get": {
        "tags": ["streams"],
        "summary": "Get Events",
        "operationId": "get_events",
        "description": "Tail a stream: replay the entries after the cursor, then follow.",
        "parameters": [
            {"name": "stream_id", "in": "path", "required": True, "schema": {"type": "string"}},
            {
                "name": "last-event-id",
                "in": "header",
                "description": "The last offset that you have. It wins over `after`.",
                "schema": {"type": "string"},
            },
            {
                "name": "after",
                "in": "query",
                "description": "The last offset that you have.",
                "schema": {"type": "string"},
            },
            {
                "name": "follow",
                "in": "query",
                "description": "`false`: stop at the tail instead of waiting for more entries.",
                "schema": {"type": "boolean", "default": True},
            },
            {
                "name": "steps",
                "in": "query",
                "description": "`true`: show what steps hold; for credentials of the whole tenant.",
                "schema": {"type": "boolean", "default": False},
            },
            {
                "name": "partial",
                "in": "query",
                "description": "`json`: texts have `partial`, the value of the answer in JSON so far.",
                "schema": {"type": "string", "enum": ["json"]},
            },
            {
                "name": "catchup",
                "in": "query",
                "description": "`coalesced`: what is logged now comes in merged entries, then all others as they are.",
                "schema": {"type": "string", "enum": ["plain", "coalesced"], "default": "plain"},
            },
            {
                "name": "pace",
                "in": "query",
                "description": "Characters of text a second at which entries are sent, at most.",
                "schema": {"type": "number", "minimum": 1, "maximum": MOST_CHARS_PER_S},
            },
        ],
        "responses": {
            "200": {
                "description": "The entries after the cursor and all that follow, up to the `end` event.",
                "content": {
                    "text/event-stream": {"example": 'id: 2\nevent: text\ndata: {"type":"text","text":"Hello"}\n\n'}
                },
            },
            "204": {
                "description": "The stream has ended, and the cursor is at its tail. This answer stops an EventSource."
            },
            "404": {"description": "`stream_not_found`"},
            "410": {"description": "`cursor_trimmed`: the entries after the cursor are gone."},
        },
    }
}
"""The endpoint in OpenAPI; FastAPI describes its own routes alone."""
