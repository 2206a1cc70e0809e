"""`/api/chat`: what the AI SDK's `useChat` talks to (PROTOCOL: The AI SDK face)."""

import logging
import re
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Header, Query, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from midstream.faces.ui_messages import RESETTING_MAJOR, TAG_CHARS, UiMessagesFace
from midstream.http.ai_sdk.ui_request import MESSAGE_ID, ChatRequest
from midstream.http.auth import AHouse, ATenant
from midstream.http.json_route import JsonRoute
from midstream.http.native.events_route import MAX_CURSOR_DIGITS
from midstream.http.native.stream_routes import JSON
from midstream.http.tails.event_response import EventResponse
from midstream.hub.follower import Follower
from midstream.log.errors import LogUnavailable, StreamAbsent
from midstream.service import chats, streams
from midstream.service.services import House

logger = logging.getLogger(__name__)

PROTOCOL_HEADER: Final = {"X-Vercel-AI-UI-Message-Stream": "v1"}
NOTHING: Final = 204
_MAJOR: Final = re.compile("[0-9]{1,9}")


router = APIRouter(prefix="/api/chat", tags=["ai-sdk"], route_class=JsonRoute)

Major = Annotated[
    str | None, Header(alias="AI-SDK-Major", description="the client's major of `ai`, if it is 7 or more")
]


async def respond(
    house: House,
    tenant: str,
    chat_id: str,
    stream_id: str,
    *,
    after: int = 0,
    follow: bool = True,
    major: str | None,
    mark: bool,
) -> Response:
    """Return the response that tails a chat's stream behind `after`, or 204 where nothing is left.

    Raises:
        StreamAbsent, LogUnavailable: As `streams.follow`.
    """
    state = await streams.find(house, tenant, stream_id)
    # Only another attempt writes a `reset`.
    reset = await chats.last_reset(house, stream_id, state.tail) if state.epoch > 1 else 0
    async with streams.follow(house, tenant, stream_id, after) as follower:
        if (follower.ended and after == follower.tail) or after + 1 < follower.first:
            return Response(status_code=NOTHING, headers={"Stream-Id": stream_id})
        if after > follower.tail:
            after = 0
        face = UiMessagesFace(
            message_id=orjson.loads(state.metadata).get(MESSAGE_ID) or f"msg-{stream_id}",
            tag=stream_id[:TAG_CHARS],
            major=RESETTING_MAJOR if _is_resetting(major) else 0,
            after_reset=reset if after == 0 or after >= reset else 0,
        )
        return _response(house, tenant, chat_id, follower, face, after=after, follow=follow, mark=mark)


def _is_resetting(major: str | None) -> bool:
    """Tell whether a client reads `reset-step`; all that do are one face, and share their frames."""
    return _MAJOR.fullmatch(major or "") is not None and int(major or 0) >= RESETTING_MAJOR


def _response(
    house: House,
    tenant: str,
    chat_id: str,
    follower: Follower,
    face: UiMessagesFace,
    *,
    after: int,
    follow: bool,
    mark: bool,
) -> EventResponse:
    async def note_seen(_gone: bool) -> None:
        """Note who was sent the end, so that nobody is replayed what somebody has read."""
        if response.sent and follower.ended and tail.cursor >= follower.tail:
            try:
                await house.chats.note_seen(tenant, chat_id, follower.stream_id, chats.keep_s(house.settings))
            except LogUnavailable:
                logger.warning("it was not noted that the end of %s was sent", follower.stream_id)

    # What was logged before this client came; the end itself stays the last word.
    replayed = follower.tail - follower.ended
    marked = (replayed, face.boundary(replayed)) if mark and replayed > after else None
    tail = follower.join(face, after, None if follow else follower.tail, mark=marked)
    response = EventResponse(
        tail,
        opening=face.heartbeat,
        send_timeout_s=house.settings.send_timeout_ms / 1000,
        headers=PROTOCOL_HEADER,
        over=note_seen,
    )
    return response


@router.post("", response_class=Response)
async def post_chat(body: ChatRequest, house: AHouse, tenant: ATenant, ai_sdk_major: Major = None) -> Response:
    """Begin the chat's next answer, or join it if this very request began it; answer with its UI message stream."""
    try:
        request = body.generation()
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error
    stream_id, new = await chats.submit(house, tenant, body.id, request, body.digest, regenerate=body.regenerates)
    return await respond(house, tenant, body.id, stream_id, major=ai_sdk_major, mark=not new)


@router.get(
    "/{chat_id:path}/stream", response_class=Response, responses={204: {"description": "There is nothing to resume."}}
)
async def resume_chat(
    chat_id: str,
    house: AHouse,
    tenant: ATenant,
    last_event_id: Annotated[
        str | None, Header(description="the last `id` you have; without it, all is replayed")
    ] = None,
    follow: Annotated[
        bool, Query(description="false: stop at the tail, without `[DONE]`; for a client that goes on by another way")
    ] = True,
    ai_sdk_major: Major = None,
) -> Response:
    """Replay the chat's answer and follow it, or send what lies behind the cursor."""
    tag, _, offset = (last_event_id or "").partition(".")
    stream_id: str | None = (await house.chats.find(tenant, chat_id)).stream_id if tag else None
    after = 0
    if stream_id and stream_id[:TAG_CHARS] == tag and offset.isascii() and offset.isdigit():
        after = int(offset[:MAX_CURSOR_DIGITS])
    if not after:
        stream_id = await chats.current(house, tenant, chat_id)
    if stream_id is None:
        return Response(status_code=NOTHING)
    try:
        return await respond(
            house, tenant, chat_id, stream_id, after=after, follow=follow, major=ai_sdk_major, mark=True
        )
    except StreamAbsent:
        return Response(status_code=NOTHING)


class StopRequest(BaseModel):
    """Which stream to stop, if not just whichever the chat is at."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    stream_id: str | None = Field(default=None, description="stop this one alone; a stale one stops nothing")


@router.post("/{chat_id:path}/stop", response_class=Response)
async def stop_chat(chat_id: str, house: AHouse, tenant: ATenant, body: StopRequest | None = None) -> Response:
    """Stop the chat's answer in every tab. Idempotent."""
    stopped, stream_id = await chats.stop(house, tenant, chat_id, body.stream_id if body else None)
    return JSON({"stopped": stopped, "stream_id": stream_id}, 202 if stopped else 200)
