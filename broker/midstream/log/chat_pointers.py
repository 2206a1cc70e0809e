"""Which stream each AI SDK chat is at (PROTOCOL: Chat/Pointer)."""

from dataclasses import dataclass

from redis.asyncio import Redis

from midstream.log import calls
from midstream.log.connect import keys_of
from midstream.log.keys import Key
from midstream.log.redis_errors import execute
from midstream.log.scripts import Scripts


@dataclass(frozen=True, slots=True)
class Chat:
    """Where a chat stands; turn 0: it has not begun.

    Attributes:
        turn: The number of its generations so far.
        digest: The digest of the request that began the last one.
        stream_id: The last one's stream, which may not exist yet.
        seen: Whether a client was sent that stream's end.
    """

    turn: int = 0
    digest: str = ""
    stream_id: str = ""
    seen: bool = False


class Chats:
    """The chats under one key prefix. Raises `LogUnavailable` when Redis does not answer."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._keys = keys_of(redis, prefix)
        self._scripts = Scripts(redis)

    def key(self, tenant: str, chat_id: str) -> Key:
        """Return the key of a tenant's chat."""
        return self._keys.chat(tenant, chat_id)

    async def find(self, tenant: str, chat_id: str) -> Chat:
        """Return where a tenant's chat stands."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.hmget(self._keys.chat(tenant, chat_id), ["turn", "digest", "stream", "seen"])
            (values,) = await execute(pipe)
        turn, digest, stream_id, seen = ((value or b"").decode() for value in values)
        return Chat(int(turn or 0), digest, stream_id, seen=bool(stream_id) and seen == stream_id)

    async def begin(self, tenant: str, chat_id: str, turn: int, digest: str, stream_id: str, keep_s: int) -> bool:
        """Begin a turn; return whether it was the next one, and not begun already."""
        key = self._keys.chat(tenant, chat_id)
        call = calls.BeginTurn(chat=key, turn=turn, digest=digest, stream_id=stream_id, keep_s=keep_s)
        answer = await self._scripts.run(call)
        return bool(answer[0] == b"ok")

    async def note_seen(self, tenant: str, chat_id: str, stream_id: str, keep_s: int) -> None:
        """Note that a client was sent a stream's end."""
        key = self._keys.chat(tenant, chat_id)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(key, "seen", stream_id)
            pipe.expire(key, keep_s)
            await execute(pipe)
