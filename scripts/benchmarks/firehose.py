"""As many small entries as it goes: an app for the worker, and a program that produces or only appends them."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from typing import Any, Final

from redis.asyncio import Redis

from midstream.producer.entrance import produce
from midstream_worker.sources.deltas import Other

GENERATIONS: Final = 20
BATCH: Final = 12
"""What the worker's batches of 512 bytes come to."""
FILL: Final = "x" * 13
XADD: Final = "xadd"
PRODUCE: Final = "produce"


async def entries(_messages: list[dict[str, Any]], params: dict[str, Any]) -> AsyncIterator[Other]:
    """Yield `count` entries that cannot be merged, leaving the loop to others after each."""
    for number in range(int(params["count"])):
        yield Other("data", {"kind": "n", "number": number, "fill": FILL})
        await asyncio.sleep(0)


async def _append(redis: Redis, key: str, count: int) -> None:
    for first in range(0, count, BATCH):
        async with redis.pipeline(transaction=False) as pipe:
            for number in range(first, min(first + BATCH, count)):
                pipe.xadd(key, {"e": f'd{{"kind":"n","number":{number},"fill":"{FILL}"}}'})
            await pipe.execute()


async def _produce(url: str, count: int) -> float:
    """Produce an answer, and return when its end was on the log: the block is left when it is on the disk, too."""
    async with produce(url) as out:
        for number in range(count):
            await out.data("n", number=number, fill=FILL)
    return out.attempt.sealed_s


async def _all(how: str, url: str, count: int) -> float:
    """Append so many entries to each of the streams, and return how long that took, in seconds."""
    began_s = time.monotonic()
    if how == PRODUCE:
        return max(await asyncio.gather(*(_produce(url, count) for _ in range(GENERATIONS)))) - began_s
    async with Redis.from_url(url) as redis:
        await asyncio.gather(*(_append(redis, f"bench:{number}", count) for number in range(GENERATIONS)))
        return time.monotonic() - began_s


if __name__ == "__main__":
    print("ready", flush=True)
    sys.stdin.readline()
    print(asyncio.run(_all(sys.argv[1], sys.argv[2], int(sys.argv[3]))), flush=True)
    sys.stdin.readline()  # until its books have been read
