"""What apps have saved for the next stream of a thread (PROTOCOL: App/State)."""

import hashlib
from typing import Final

from redis.asyncio import Redis

from midstream.log import calls
from midstream.log.connect import keys_of
from midstream.log.keys import Key, tenant_of
from midstream.log.scripts import Scripts, accepted
from midstream.log.values import Fence

HASH_CHARS: Final = 32


class SavedStates:
    """The saved states under one key prefix. Every method raises `LogUnavailable` when Redis does not answer."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._keys = keys_of(redis, prefix)
        self._scripts = Scripts(redis)

    async def load(self, stream_id: str, user: str, app: str, thread: str) -> tuple[bytes | None, str | None]:
        """Return what an app has saved last in a thread of the stream's tenant and user, and the stream's own key.

        The first is None where nothing is kept, the other where the stream's start had no idempotency key.
        """
        saved, key = await self._scripts.in_order(
            ("GET", self._state(tenant_of(stream_id), user, app, thread)),
            ("HGET", self._keys.state(stream_id), "idempotency_key"),
        )
        return saved, None if key is None else key.decode()

    async def save(
        self, stream_id: str, fence: Fence, user: str, app: str, thread: str, value: bytes, keep_s: int
    ) -> None:
        """Put a value in place of the last one and keep it for `keep_s`; an empty one is forgotten.

        Raises:
            StaleEpoch, StreamSealed, StreamAbsent: The fence does not let it in; nothing was saved.
        """
        call = calls.SaveState(
            state=self._keys.state(stream_id),
            saved=self._state(tenant_of(stream_id), user, app, thread),
            listing=self._list(tenant_of(stream_id), user),
            epoch=fence.epoch,
            owner=fence.owner,
            value=value,
            keep_ms=keep_s * 1000,
        )
        accepted(stream_id, await self._scripts.run(call))

    async def forget(self, tenant: str, user: str) -> None:
        """Forget all that was saved in the threads of a user."""
        list_key = self._list(tenant, user)
        (saved,) = await self._scripts.in_order(("ZRANGE", list_key, 0, -1))
        await self._scripts.in_order(("DEL", list_key, *saved))

    async def forget_thread(self, tenant: str, user: str, app: str, thread: str) -> None:
        """Forget what an app has saved last in a thread of a user, who is empty where none is named."""
        list_key, saved = self._list(tenant, user), self._state(tenant, user, app, thread)
        await self._scripts.in_order(("DEL", saved), ("ZREM", list_key, saved))

    def _list(self, tenant: str, user: str) -> Key:
        return self._keys.saved(f"{tenant}/{_hash(user)}" if user else tenant)

    def _state(self, tenant: str, user: str, app: str, thread: str) -> Key:
        # A thread's name is the client's and may hold anything.
        place = _hash(f"{app}\0{thread}")
        return Key(f"{self._list(tenant, user)}:{place}")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_CHARS]
