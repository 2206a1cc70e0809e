"""What one would write in an afternoon to generate in the background: the SDK's stream, and an XADD for each delta.

`python -m scripts.benchmarks.plain_generations PROVIDER REDIS COUNT PROMPT` waits for a line and generates; it prints
how long that took, in s, and when each generation had its first text, in ms.
"""

import asyncio
import json
import sys
import time

from openai import AsyncOpenAI
from redis.asyncio import Redis

from scripts.benchmarks.tokens import WARM_UP


async def _generate(client: AsyncOpenAI, redis: Redis, number: int, prompt: str) -> float:
    began_s, first_ms = time.monotonic(), 0.0
    stream = await client.chat.completions.create(
        model="bench", messages=[{"role": "user", "content": prompt}], stream=True
    )
    async for chunk in stream:
        if chunk.choices and (text := chunk.choices[0].delta.content):
            first_ms = first_ms or (time.monotonic() - began_s) * 1_000
            await redis.xadd(f"bench:{number}", {"t": text})
    return first_ms


async def _all(provider: str, redis_url: str, count: int, prompt: str) -> None:
    async with AsyncOpenAI(base_url=f"{provider}/v1", api_key="none") as client, Redis.from_url(redis_url) as redis:
        await _generate(client, redis, count, WARM_UP)  # the SDK makes its types when they are first used
        print("ready", flush=True)
        sys.stdin.readline()
        began_s = time.monotonic()
        firsts_ms = await asyncio.gather(*(_generate(client, redis, number, prompt) for number in range(count)))
        print(json.dumps([time.monotonic() - began_s, *firsts_ms]), flush=True)
        sys.stdin.readline()  # until its books have been read


if __name__ == "__main__":
    asyncio.run(_all(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
