"""Whether what the server confirms as written survives a power loss: tried at the start, not read off a version.

With `appendfsync always` every answer comes behind the disk. With `everysec` the server writes to the disk once a
second, so two confirmations (WAITAOF) in a row are about a second apart. One that confirms sooner, again and again,
has not waited: Valkey 9.1.2 answers within a tenth of a second and calls no fsync.
"""

import time
from typing import Final

from redis.asyncio import Redis

from midstream.log.durability import setting
from midstream.log.errors import UnfitServer
from midstream.log.fsync import Fsync
from midstream.log.redis_errors import translated

ROUNDS: Final = 3
"""The first one only meets the disk's rhythm."""
LEAST_S: Final = 0.5
"""Half of the time between two writes of `everysec` to the disk."""
_INSTEAD: Final = "MIDSTREAM_DURABLE_INTENT cannot hold here: {}. Set `appendfsync always` on the server."


async def prove_disk(redis: Redis, fsync: Fsync) -> None:
    """Return if `fsync.wait` comes back behind the disk; takes up to three seconds.

    Raises:
        UnfitServer: It does not, or it cannot be shown; the text says why.
        LogUnavailable: Redis did not answer.
    """
    with translated:
        persistence = await redis.info("persistence")
        policy = await setting(redis, "appendfsync")
    if not int(persistence.get("aof_enabled", 0)):
        raise UnfitServer(_INSTEAD.format("the server keeps no append-only file (`appendonly yes`)"))
    if policy == "always":
        fsync.each_write = True
        return
    if policy == "no":
        raise UnfitServer(_INSTEAD.format("the server leaves it to the system when it writes to the disk"))
    quickest_s = float("inf")
    for number in range(ROUNDS):
        began_s = time.monotonic()
        if not await fsync.wait():
            raise UnfitServer(_INSTEAD.format("the server does not say when a write is on its disk"))
        if number:
            quickest_s = min(quickest_s, time.monotonic() - began_s)
    if quickest_s < LEAST_S:
        raise UnfitServer(
            _INSTEAD.format(
                f"the server confirmed two writes within {quickest_s * 1000:.0f} ms of each other, "
                "and `everysec` writes to the disk once a second"
            )
        )
