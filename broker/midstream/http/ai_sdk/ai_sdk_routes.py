"""`/api/chat`: what the AI SDK's `useChat` talks to (PROTOCOL: The AI SDK face)."""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import orjson
from fastapi import APIRouter, Header, Query, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.convertors import PathConvertor, register_url_convertor

from midstream.faces.face import Face
from midstream.faces.ui_messages import RESETTING_MAJOR, TAG_CHARS, UiMessagesFace
from midstream.faces.ui_objects import UiObjectsFace
from midstream.http.ai_sdk.ui_request import MESSAGE_ID, ChatRequest
from midstream.http.auth import ACaller
from midstream.http.json_response import JsonResponse
from midstream.http.json_route import JsonRoute
from midstream.http.tails.event_response import EventResponse
from midstream.log.errors import StreamAbsent
from midstream.service.caller import Caller
from midstream.service.caller_chat import CallerChat
from midstream.service.stream_handle import StreamHandle

PROTOCOL_HEADER: Final = {"X-Vercel-AI-UI-Message-Stream": "v1"}
NOTHING: Final = 204
_MAJOR: Final = re.compile("[0-9]{1,9}")
_EVENT_ID: Final = re.compile(r"(?P<tag>[^.]+)\.(?P<offset>[0-9]{1,15})[0-9]*")
"""What a client has to go on from; no log has an offset of more digits."""


class AnyText(PathConvertor):
    """A part of a path that may hold anything, as a chat's id may; Starlette's own stops at a line break."""

    regex = r"[\s\S]*"


register_url_convertor("text", AnyText())
router = APIRouter(prefix="/api/chat", tags=["ai-sdk"], route_class=JsonRoute)

Major = Annotated[
    str | None,
    Header(alias="AI-SDK-Major", description="The major version of the client's `ai` package, if it is 7 or more."),
]

Partial = Annotated[
    Literal["json"] | None,
    Query(description="`json`: `data-object` parts hold the value of the answer in JSON so far."),
]


Catchup = Annotated[
    Literal["plain", "coalesced"] | None,
    Query(description="`plain`: what is logged now comes entry by entry; it does with `partial`, too."),
]


@dataclass(frozen=True, slots=True)
class _Reading:
    """How a client reads a chat's stream.

    Attributes:
        after: The offset of the last chunk that it has.
        follow: Whether it waits for more at the tail.
        major: The client's major version of `ai`, as it sent it.
        partial: Whether it is sent the value of an answer in JSON so far.
        catchup: How it asks for what was logged before it came.
        mark: Whether the end of that is to be marked, because the stream is not its own new one.
    """

    major: str | None
    mark: bool
    after: int = 0
    follow: bool = True
    partial: Partial = None
    catchup: Catchup = None

    @property
    def merges(self) -> bool:
        """Whether it is sent merged entries of what was logged before it came."""
        return self.mark and self.partial is None and self.catchup != "plain"


async def _tail(caller: Caller, chat: CallerChat, stream: StreamHandle, reading: _Reading) -> Response:
    """Return the response that tails a chat's stream, or 204 where nothing is left.

    Raises:
        StreamAbsent: The stream was deleted or has expired just now.
    """
    after = reading.after
    reset = await stream.last_reset()
    async with caller.streams.follow(stream.id, after) as follower:
        if (follower.ended and after == follower.tail) or after + 1 < follower.first:
            return Response(status_code=NOTHING, headers={"Stream-Id": stream.id})
        if after > follower.tail:
            after = 0
        message = UiMessagesFace(
            message_id=orjson.loads(stream.state.metadata).get(MESSAGE_ID) or f"msg-{stream.id}",
            tag=stream.id[:TAG_CHARS],
            major=RESETTING_MAJOR if _is_resetting(reading.major) else 0,
            after_reset=reset if after == 0 or after >= reset else 0,
        )
        face: Face[Any] = message
        if reading.partial is not None:
            face = UiObjectsFace(message, caller.settings.structured_bytes)
        # What was logged before this client came; the end itself stays the last chunk.
        replayed = follower.tail - follower.ended
        mark = (replayed, message.boundary(replayed)) if reading.mark and replayed > after else None
        until = None if reading.follow else follower.tail
        if reading.merges:
            tail = follower.join_merged(message, after, until, mark=mark)
        else:
            tail = follower.join(face, after, until, mark=mark)

    async def note_seen(_gone: bool) -> None:
        """Note who was sent the end, so that an answer that somebody has read is not replayed."""
        if response.sent and follower.ended and tail.cursor >= follower.tail:
            await chat.note_seen(stream.id)

    response = EventResponse(
        tail,
        opening=face.heartbeat,
        settings=caller.settings,
        headers=PROTOCOL_HEADER,
        over=note_seen,
    )
    return response


def _is_resetting(major: str | None) -> bool:
    """Tell whether a client reads `reset-step`; all clients that do share one face, and so their frames."""
    return _MAJOR.fullmatch(major or "") is not None and int(major or 0) >= RESETTING_MAJOR


@router.post("", response_class=Response)
async def post_chat(
    body: ChatRequest,
    caller: ACaller,
    ai_sdk_major: Major = None,
    partial: Partial = None,
    catchup: Catchup = None,
) -> Response:
    """Begin the chat's next answer, or join it if an equal request began it. The response is its UI message stream."""
    try:
        request = body.generation()
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error
    caller.streams.require_room()
    chat = caller.chat(body.id)
    stream, is_new = await chat.submit(request, body.digest, regenerate=body.regenerates)
    return await _tail(caller, chat, stream, _Reading(ai_sdk_major, mark=not is_new, partial=partial, catchup=catchup))


@router.get(
    "/{chat_id:text}/stream", response_class=Response, responses={204: {"description": "There is nothing to resume."}}
)
async def resume_chat(
    chat_id: str,
    caller: ACaller,
    last_event_id: Annotated[
        str | None, Header(description="The last `id` that you have. Without it everything is replayed.")
    ] = None,
    follow: Annotated[
        bool,
        Query(description="`false`: stop at the tail, without `[DONE]`, for a client that reads on in another way."),
    ] = True,
    ai_sdk_major: Major = None,
    partial: Partial = None,
    catchup: Catchup = None,
) -> Response:
    """Replay the chat's answer and follow it. With a cursor, send only what comes after it."""
    chat = caller.chat(chat_id)
    stream, after = await _position(chat, last_event_id)
    if not after:
        stream = await chat.unseen_stream()
    if stream is None:
        return Response(status_code=NOTHING)
    try:
        reading = _Reading(ai_sdk_major, mark=True, after=after, follow=follow, partial=partial, catchup=catchup)
        return await _tail(caller, chat, stream, reading)
    except StreamAbsent:
        return Response(status_code=NOTHING)


async def _position(chat: CallerChat, last_event_id: str | None) -> tuple[StreamHandle | None, int]:
    """Return the chat's stream and the offset that an id names; 0 where it names none of that stream."""
    named = _EVENT_ID.fullmatch(last_event_id or "")
    stream = await chat.stream() if named else None
    if named is None or stream is None or stream.id[:TAG_CHARS] != named["tag"]:
        return stream, 0
    return stream, int(named["offset"])


class StopRequest(BaseModel):
    """The stream to stop, if it is not the chat's current one."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    stream_id: str | None = Field(
        default=None, description="Stop only this stream. If it is no longer the chat's, nothing is stopped."
    )


@router.post("/{chat_id:text}/stop", response_class=Response)
async def stop_chat(chat_id: str, caller: ACaller, body: StopRequest | None = None) -> Response:
    """Stop the chat's answer in every tab. The request can be repeated."""
    stopped, stream_id = await caller.chat(chat_id).stop(body.stream_id if body else None)
    return JsonResponse({"stopped": stopped, "stream_id": stream_id}, 202 if stopped else 200)
