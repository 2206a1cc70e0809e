"""Chats of the AI SDK: a chat is at one stream at a time (PROTOCOL: Chat/Pointer, Chat/Turn)."""

import asyncio
import contextlib
from typing import Final

from midstream.log.chat_pointers import Chat
from midstream.log.entries import COMPLETED, RESET, decode
from midstream.log.errors import StreamAbsent
from midstream.log.keys import idempotent_id
from midstream.requests.catalogue import resolve
from midstream.requests.request import GenerationRequest
from midstream.service import streams
from midstream.service.services import House
from midstream.settings import Settings

SEEN_GRACE_S: Final = 0.2
"""Whoever was sent an end just now is noting so at this moment."""
READ_PAGE: Final = 1_000


async def submit(
    house: House, tenant: str, chat_id: str, request: GenerationRequest, digest: str, *, regenerate: bool
) -> tuple[str, bool]:
    """Begin the chat's next turn, or join the one that an equal request began; return its stream and whether it is new.

    Raises:
        UnknownModel, MissingProviderKey: No such model here; the chat stays where it is.
        StreamDeleted: The request's stream was deleted.
        LogUnavailable: Redis did not answer. The same request is safe.
    """
    resolve(request.model, house.settings)
    while True:
        chat = await house.chats.find(tenant, chat_id)
        turn = chat.turn
        if chat.digest != digest or not await _joins(house, chat, regenerate=regenerate):
            turn += 1
            stream_id = idempotent_id(tenant, _key(chat_id, turn, digest))
            if not await house.chats.begin(tenant, chat_id, turn, digest, stream_id, keep_s(house.settings)):
                continue
            if chat.stream_id:
                with contextlib.suppress(StreamAbsent):
                    await streams.cancel(house, tenant, chat.stream_id)
        return await streams.start(house, tenant, request, _key(chat_id, turn, digest))


async def current(house: House, tenant: str, chat_id: str) -> str | None:
    """Return the stream that a client without a cursor should be shown: one that runs, or whose end nobody was sent."""
    chat = await house.chats.find(tenant, chat_id)
    state = await house.log.state(chat.stream_id) if chat.stream_id else None
    if state is None:
        return None
    if state.ended and not chat.seen:
        await asyncio.sleep(SEEN_GRACE_S)
        chat = await house.chats.find(tenant, chat_id)
    return None if state.ended and chat.seen else chat.stream_id


async def stop(house: House, tenant: str, chat_id: str, stream_id: str | None) -> tuple[bool, str | None]:
    """Stop the chat's stream, if `stream_id` names it or is None; return whether it ran, and the chat's stream."""
    chat = await house.chats.find(tenant, chat_id)
    if not chat.stream_id:
        return False, None
    try:
        state = await streams.find(house, tenant, chat.stream_id)
        if state.ended or stream_id not in (None, chat.stream_id):
            return False, chat.stream_id
        await streams.cancel(house, tenant, chat.stream_id)
    except StreamAbsent:
        return False, None
    return True, chat.stream_id


async def last_reset(house: House, stream_id: str, tail: int) -> int:
    """Return the offset of the last `reset` up to `tail`; 0: there is none."""
    found = after = 0
    while after < tail:
        _, page = await house.log.read(stream_id, after, READ_PAGE)
        if not page:
            break
        for row in page:
            if row.offset <= tail and decode(row.content, row.offset, row.epoch).type == RESET:
                found = row.offset
        after = page[-1].offset
    return found


def keep_s(settings: Settings) -> int:
    """Return how long a chat is remembered: as long as a stream may live."""
    generating_s = settings.queue_timeout_s + settings.max_attempts * settings.generation_timeout_s
    return settings.retention_s + round(generating_s)


async def _joins(house: House, chat: Chat, *, regenerate: bool) -> bool:
    """Tell whether a request that equals the chat's last one is that one, sent again."""
    state = await house.log.state(chat.stream_id)
    if state is None or not state.ended or not chat.seen:
        return True
    return state.outcome == COMPLETED and not regenerate


def _key(chat_id: str, turn: int, digest: str) -> str:
    """Return the idempotency key of a turn; native clients' keys cannot be the same, for they hold no NUL."""
    return f"chat\0{chat_id}\0{turn}\0{digest}"
