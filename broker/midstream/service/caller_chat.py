"""Chats of the AI SDK: a chat is at one stream at a time (PROTOCOL: Chat/Pointer, Chat/Turn)."""

import asyncio
import contextlib
import logging
from typing import Final

from midstream.access.grant import Grant, Scope
from midstream.log.chat_pointers import Chat
from midstream.log.entries import COMPLETED
from midstream.log.errors import LogUnavailable, StreamAbsent
from midstream.requests.request import GenerationRequest
from midstream.service.caller_streams import CallerStreams
from midstream.service.resources import Resources
from midstream.service.stream_handle import StreamHandle
from midstream.settings import Settings

logger = logging.getLogger(__name__)

SEEN_GRACE_S: Final = 0.2
"""Wait for the note that an end was seen: a client that was sent the end a moment ago may be making it now."""


class CallerChat:
    """One chat of a caller's. Every method raises `LogUnavailable` when Redis does not answer."""

    __slots__ = ("_chat_id", "_grant", "_owner", "_resources", "_streams")

    def __init__(self, resources: Resources, grant: Grant, streams: CallerStreams, chat_id: str) -> None:
        self._resources = resources
        self._grant = grant
        self._owner = grant.owner
        self._streams = streams
        self._chat_id = chat_id

    async def submit(self, request: GenerationRequest, digest: str, *, regenerate: bool) -> tuple[StreamHandle, bool]:
        """Begin the chat's next turn, or join the one that an equal request began; return its stream, and if it is new.

        Raises:
            InsufficientScopeError: The credential cannot start, read and stop; the chat stays where it is.
            UnknownModel, MissingProviderKey, UnfitRequestError: It cannot be run; the chat stays where it is.
            StreamDeleted: The request's stream was deleted.
            LimitExceededError: The turn has begun, so the turn before it is cancelled. The same request is safe.
            LogUnavailable: Redis did not answer. The same request is safe.
        """
        for scope in (Scope.START, Scope.READ, Scope.STOP):  # a turn stops the one before, and is read at once
            self._grant.require(scope)
        settings = self._resources.settings
        self._streams.model_for(request)
        while True:
            chat = await self._pointer()
            turn = chat.turn
            if chat.digest != digest or not await self._is_repeated(chat, regenerate=regenerate):
                turn += 1
                stream_id = self._streams.derived_id(self._key(turn, digest))
                if not await self._resources.chats.begin(
                    self._owner, self._chat_id, turn, digest, stream_id, _keep_s(settings)
                ):
                    continue
                previous = await self._existing(chat.stream_id)
                if previous is not None:
                    with contextlib.suppress(StreamAbsent):
                        await previous.cancel()
            pointer = self._resources.chats.key(self._owner, self._chat_id)
            return await self._streams.start(request, self._key(turn, digest), pointer=pointer)

    async def stream(self) -> StreamHandle | None:
        """Return the stream that the chat is at; None where it has none (any more)."""
        self._grant.require(Scope.READ)
        return await self._existing((await self._pointer()).stream_id)

    async def unseen_stream(self) -> StreamHandle | None:
        """Return the stream to show to a client without a cursor: one that runs, or whose end nobody was sent."""
        self._grant.require(Scope.READ)
        chat = await self._pointer()
        stream = await self._existing(chat.stream_id)
        if stream is None or not stream.state.ended:
            return stream
        if not chat.seen:
            await asyncio.sleep(SEEN_GRACE_S)
            chat = await self._pointer()
            if chat.stream_id != stream.id:  # the next turn has begun meanwhile
                return await self._existing(chat.stream_id)
        return None if chat.seen else stream

    async def stop(self, stream_id: str | None) -> tuple[bool, str | None]:
        """Stop the chat's stream, if `stream_id` names it or is None; return whether it ran, and the chat's stream."""
        self._grant.require(Scope.STOP)
        stream = await self._existing((await self._pointer()).stream_id, Scope.STOP)
        if stream is None:
            return False, None
        if stream.state.ended or stream_id not in (None, stream.id):
            return False, stream.id
        try:
            await stream.cancel()
        except StreamAbsent:
            return False, None
        return True, stream.id

    async def note_seen(self, stream_id: str) -> None:
        """Note that somebody was sent the end of this stream. Without the note, the end may be replayed once more."""
        try:
            await self._resources.chats.note_seen(
                self._owner, self._chat_id, stream_id, _keep_s(self._resources.settings)
            )
        except LogUnavailable:
            logger.warning("it was not noted that the end of %s was sent", stream_id, extra={"stream": stream_id})

    async def _pointer(self) -> Chat:
        return await self._resources.chats.find(self._owner, self._chat_id)

    async def _existing(self, stream_id: str, scope: Scope = Scope.READ) -> StreamHandle | None:
        with contextlib.suppress(StreamAbsent):
            return await self._streams.find(stream_id, scope) if stream_id else None
        return None

    async def _is_repeated(self, chat: Chat, *, regenerate: bool) -> bool:
        """Tell whether a request that equals the chat's last one is that one, sent again."""
        stream = await self._existing(chat.stream_id)
        if stream is None or not stream.state.ended or not chat.seen:
            return True
        return stream.state.outcome == COMPLETED and not regenerate

    def _key(self, turn: int, digest: str) -> str:
        """Return the idempotency key of a turn; native clients' keys cannot be the same, for they hold no NUL."""
        return f"chat\0{self._chat_id}\0{turn}\0{digest}"


def _keep_s(settings: Settings) -> int:
    """Return how long a chat is remembered: as long as a stream may live."""
    return settings.retention_s + round(settings.longest_life_s)
