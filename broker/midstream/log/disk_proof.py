"""Whether what the server confirms survives a power loss. That is tried at the start, and not judged by a version.

With `appendfsync always` the server answers once a write is on its disk. With `everysec` it writes to the disk once a
second, so two confirmations (WAITAOF) in a row are about a second apart. A server that confirms sooner, again and
again, has not waited for its disk: Valkey 9.1.2 answers within a tenth of a second and calls no fsync.
"""

import time
from typing import Final

from redis.asyncio import Redis

from midstream.log.cluster import ClusterRedis
from midstream.log.durability import setting
from midstream.log.errors import UnfitServer
from midstream.log.fsync import Fsync
from midstream.log.redis_errors import log_errors

ROUNDS: Final = 3
"""How often a confirmation is asked for. The first one has no other before it, so its time says nothing."""
LEAST_S: Final = 0.5
"""Half of the time between two writes of `everysec` to the disk."""
_INSTEAD: Final = "MIDSTREAM_DURABLE_INTENT cannot hold here: {}. Set `appendfsync always` on the server."

_ON_CLUSTER: Final = (
    "MIDSTREAM_DURABLE_INTENT is not supported on a cluster, because a slot that moves leaves the server that has "
    "confirmed its writes. Set `appendfsync always` on every node instead."
)


async def prove_disk(redis: Redis, fsync: Fsync) -> None:
    """Return if `fsync.wait` returns only once writes are on disk; this takes up to three seconds.

    Raises:
        UnfitServer: It returns sooner, or that cannot be found out; the text says why.
        LogUnavailable: Redis did not answer.
    """
    if isinstance(redis, ClusterRedis):
        raise UnfitServer(_ON_CLUSTER)
    with log_errors:
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
