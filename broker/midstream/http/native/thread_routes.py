"""`/v1/threads`: conversations, made of the logs of their streams (PROTOCOL: Threads)."""

import re
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Header, Path, Query, Response

from midstream.faces.sse_frames import with_retry
from midstream.faces.thread import ThreadFace
from midstream.http import page_cursor
from midstream.http.auth import ACaller
from midstream.http.json_response import JsonResponse
from midstream.http.json_route import JsonRoute
from midstream.http.problems import Problem
from midstream.http.tails.event_response import EventResponse
from midstream.http.thread_cursor import read_thread_cursor

router = APIRouter(prefix="/v1/threads", tags=["threads"], route_class=JsonRoute)

MOST_STREAMS: Final = 100
_PLACE: Final = re.compile("[0-9]{1,15}")
AThread = Annotated[str, Path(min_length=1, max_length=200)]


@router.get("", response_class=Response)
async def list_threads(
    caller: ACaller,
    limit: Annotated[int, Query(ge=1)] = 50,
    cursor: Annotated[str | None, Query(description="The `next_cursor` of the page before.")] = None,
) -> Response:
    """List threads, the one in which a stream was started last first. A page may be short."""
    page, last = await caller.threads(min(limit, caller.settings.page_limit), page_cursor.read(cursor))
    return JsonResponse({"data": page, "next_cursor": page_cursor.write(last)})


@router.get("/{thread:path}/events", response_class=Response)
async def get_thread_events(
    thread: AThread,
    caller: ACaller,
    after: Annotated[str | None, Query(description="The last cursor that you have: `<stream id>.<offset>`.")] = None,
    last_event_id: Annotated[str | None, Header(description="The same. It wins over `after`.")] = None,
    follow: Annotated[bool, Query(description="`false`: stop at the tail instead of waiting for more.")] = True,
    catchup: Annotated[
        Literal["plain", "coalesced"], Query(description="`coalesced`: what is logged comes in merged entries.")
    ] = "plain",
) -> Response:
    """Tail a thread: replay its streams after the cursor, then follow them and each one that is started."""
    last, merges = read_thread_cursor(last_event_id or after), catchup == "coalesced"
    tail = await caller.thread(thread).tail(ThreadFace, last, follows=follow, merges=merges)
    settings = caller.settings
    return EventResponse(tail, opening=with_retry(settings.retry_ms), settings=settings)


@router.get("/{thread:path}", response_class=Response)
async def get_thread(
    thread: AThread,
    caller: ACaller,
    limit: Annotated[int, Query(ge=1, description="The most streams whose messages are shown.")] = 20,
    cursor: Annotated[str | None, Query(description="The `next_cursor` of a page: what came before it.")] = None,
) -> Response:
    """Show a thread's messages: those of its last streams, or of the ones before a cursor.

    `cursor` of the answer is where `GET …/events` goes on after these messages.
    """
    if cursor is not None and not _PLACE.fullmatch(cursor):
        raise Problem(400, "bad_cursor", "cursor must be a page's `next_cursor`.", cursor=cursor[:64])
    before = None if cursor is None else int(cursor)
    return JsonResponse(await caller.thread(thread).page(min(limit, MOST_STREAMS), before))


@router.delete("/{thread:path}", response_class=Response, status_code=204)
async def delete_thread(thread: AThread, caller: ACaller) -> Response:
    """Delete all streams of a thread. Those that still run are cancelled first."""
    await caller.thread(thread).delete()
    return Response(status_code=204)
