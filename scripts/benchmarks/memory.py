"""What answers cost in Redis' memory."""

import asyncio
from functools import partial
from typing import Final

import orjson
from redis.asyncio import Redis

from midstream.lifecycle.ending import end_entry
from midstream.log.connect import connect
from midstream.log.entries import encode
from midstream.log.keys import new_id
from midstream.log.log import Log
from midstream.log.values import Ending, NewStream
from scripts.benchmarks.benchmark import OBVIOUS, OURS, Benchmark, Figures
from scripts.benchmarks.producer import LEASE_MS, PREFIX, TTL_S
from scripts.benchmarks.rig import Rig

ANSWERS: Final = 200
QUICK_ANSWERS: Final = 40
TOKENS: Final = 500
WORD: Final = " word"
MERGED: Final = 4
"""Tokens that a worker's batches of 15 ms make one entry of, at some 250 a second."""
PROMPT: Final = {"model": "bench", "input": "x" * 400}


async def _ours(redis: Redis, merged: int) -> None:
    """Log one finished answer."""
    log = Log(redis, PREFIX)
    stream = new_id()
    request = orjson.dumps(PROMPT)
    new = NewStream(digest="0" * 64, tenant="bench", model="bench", ttl_s=TTL_S, request=request)
    await log.create(stream, new, look_in_ms=LEASE_MS)
    claim = await log.claim(stream, "0" * 32, LEASE_MS)
    tail = claim.state.tail
    entries = [b"t" + (WORD * merged).encode()] * (TOKENS // merged)
    for entry in entries:
        tail = await log.append(stream, claim.fence, tail, [entry])
    end = encode(end_entry("completed", state=claim.state, now_ms=claim.state.started_ms))
    await log.seal(stream, claim.fence, tail, Ending([end], "completed"))


async def _obvious(redis: Redis, _merged: int) -> None:
    """Log one answer as JSON, a token an entry, beside its request."""
    name = new_id()
    await redis.set(f"bench:request:{name}", orjson.dumps(PROMPT), ex=TTL_S)
    event = orjson.dumps({"type": "text", "text": WORD})
    async with redis.pipeline(transaction=False) as pipe:
        for _ in range(TOKENS):
            pipe.xadd(f"bench:{name}", {"data": event})
        pipe.xadd(f"bench:{name}", {"data": orjson.dumps({"type": "end"})})
        pipe.expire(f"bench:{name}", TTL_S)
        await pipe.execute()


async def _bytes_an_answer(url: str, system: str, merged: int, answers: int) -> float:
    redis = connect(url, 30.0, 4)
    write = _ours if system == OURS else _obvious
    await write(redis, merged)  # scripts and the like are there before it is measured
    before = (await redis.info("memory"))["used_memory"]
    for _ in range(answers):
        await write(redis, merged)
    used = (await redis.info("memory"))["used_memory"] - before
    await redis.aclose()
    return float(used) / answers


def _run(system: str, quick: bool) -> Figures:
    figures: dict[str, float] = {}
    cases = {"a token an entry": 1} | ({f"{MERGED} tokens an entry": MERGED} if system == OURS else {})
    for name, merged in cases.items():
        with Rig() as rig:
            answers = QUICK_ANSWERS if quick else ANSWERS
            used = asyncio.run(_bytes_an_answer(rig.redis_url, system, merged, answers))
            figures[f"{name}: KiB a finished answer"] = used / 1024
            figures[f"{name}: bytes a token"] = used / TOKENS
    return figures


MEMORY: Final = Benchmark(
    name="memory",
    title=f"Redis' memory for finished answers of {TOKENS} tokens",
    note=f"{len(WORD)} bytes of text a token, a request of {len(orjson.dumps(PROMPT))} bytes, state and index beside. "
    "The obvious way: a JSON object a token in a stream. Workers merge what comes within 15 ms into one entry.",
    systems={system: partial(_run, system) for system in (OBVIOUS, OURS)},
    plotted=("a token an entry: bytes a token",),
    headlines={"a token an entry: bytes a token": "Redis' memory for one token in an entry of its own, bytes"},
)
