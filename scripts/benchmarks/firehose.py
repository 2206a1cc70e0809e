"""As many small entries as it goes: an app for the worker, and a program that only appends them."""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any, Final

from redis.asyncio import Redis

from midstream_worker.sources.deltas import Other

GENERATIONS: Final = 20
BATCH: Final = 12
"""What the worker's batches of 512 bytes come to."""
FILL: Final = "x" * 13


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


async def _main(url: str, count: int) -> None:
    async with Redis.from_url(url) as redis:
        await asyncio.gather(*(_append(redis, f"bench:{number}", count) for number in range(GENERATIONS)))


if __name__ == "__main__":
    print("ready", flush=True)
    sys.stdin.readline()
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
    print("done", flush=True)
    sys.stdin.readline()  # until its books have been read
