"""How long an operator waits for the streams that it looks for, among 100,000."""

import asyncio
import http.client
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Final

from redis.asyncio import Redis

from midstream.access.api_keys import digest
from midstream.log.connect import connect
from midstream.log.keys import Keys, new_id, stream_name
from midstream.log.log import Log
from midstream.log.registry import Registry
from midstream.log.values import NewStream
from scripts.benchmarks.benchmark import OURS, Benchmark, Figures
from scripts.benchmarks.producer import PREFIX
from scripts.benchmarks.rig import Rig, cpu_s, rss_kib

STREAMS: Final = 100_000
LIVE: Final = 300
QUICK: Final = 10
TENANTS: Final = 20
SEARCHES: Final = 100
BATCH: Final = 1_000
DAY_MS: Final = 86_400_000
ANSWER_MS: Final = 9_000
TTL_S: Final = 2 * 86_400
LEASE_MS: Final = 600_000
FILTERS: Final = {
    "nothing": "",
    "status": "status=running",
    "outcome": "outcome=interrupted",
    "code": "code=provider_rate_limited",
    "model": "model=openai/rare",
    "thread": "thread=thread-77",
    "user": "user=user-77&tenant=tenant-7",
    "age": "older_than_s=82800",
    "silence": "silent_s=60",
    "attempts": "attempts_over=3",
    "metadata": "metadata.customer=c-77",
    "text": "q=JOB-77-",
    "what no stream fits": "code=nonesuch",
    "text that no stream holds": "q=nonesuch",
}
"""What is looked for, and how."""
KEY_ROW: Final = '[[keys]]\nname = "bench"\nsha256 = "{}"\ntenant = "bench"\nscopes = ["operate"]\n'


async def _write(url: str, streams: int) -> None:
    """Write the states and lists of streams that have ended, and start some more."""
    redis = connect(url, 30.0, 4)
    now_ms = time.time_ns() // 1_000_000
    for first in range(0, streams, BATCH):
        await _write_ended(redis, range(first, first + BATCH), streams, now_ms)
    log, registry = Log(redis, PREFIX), Registry(redis, PREFIX)
    for number in range(LIVE):
        tenant, stream = f"tenant-{number % TENANTS}", new_id()
        new = NewStream(digest="0" * 64, tenant=tenant, model="openai/common", ttl_s=TTL_S, request=b"{}")
        created_ms = await log.create(stream_name(tenant, stream), new, look_in_ms=LEASE_MS)
        await registry.add(tenant, stream, created_ms or now_ms, TTL_S)
        await log.claim(stream_name(tenant, stream), "0" * 32, LEASE_MS)
    await redis.aclose()


async def _write_ended(redis: Redis, numbers: range, streams: int, now_ms: int) -> None:
    keys = Keys(PREFIX)
    async with redis.pipeline(transaction=False) as pipe:
        for number in numbers:
            tenant, stream = f"tenant-{number % TENANTS}", new_id()
            name, created_ms = stream_name(tenant, stream), now_ms - DAY_MS * (streams - number) // streams
            failed = number % 100 == 0
            state: dict[str, str | int] = {
                "status": "ended",
                "outcome": "failed" if failed else "completed",
                "code": "provider_rate_limited" if number % 1_000 == 0 else "provider_error" if failed else "",
                "user": f"user-{number % 1_000}",
                "thread": f"thread-{number % 20_000}",
                "request": "x" * 400,
                "model": "openai/rare" if number % 5_000 == 0 else "openai/common",
                "epoch": 1,
                "tail": 40,
                "tail_ms": ANSWER_MS,
                "created_ms": created_ms,
                "started_ms": created_ms,
                "ended_ms": created_ms + ANSWER_MS,
                "ttl_s": TTL_S,
                "metadata": f'{{"customer":"c-{number % 2_000}","job":"job-{number}-{number % 7}"}}',
            }
            pipe.hset(keys.state(name), mapping=state)
            pipe.zadd(keys.index(tenant), {stream: created_ms})
            pipe.xadd(keys.ended, {"n": name})
        await pipe.execute()


def _run(_system: str, quick: bool) -> Figures:
    streams = STREAMS // (QUICK if quick else 1)
    searches = SEARCHES // (QUICK if quick else 1)
    figures: dict[str, float] = {}
    with Rig() as rig, tempfile.TemporaryDirectory() as folder:
        asyncio.run(_write(rig.redis_url, streams))
        keys_file = Path(folder) / "keys.toml"
        keys_file.write_text(KEY_ROW.format(digest("operator")))
        front = rig.front(keys_file=keys_file, key_prefix=PREFIX)
        connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=60)
        before_kib = rss_kib(front.pid)
        figures["the first search, ms"] = 1_000 * _search(connection, "")
        figures["memory of a broker's table, MiB"] = (rss_kib(front.pid) - before_kib) / 1_024
        used_s = cpu_s(front.pid)
        medians_s = []
        for name, query in FILTERS.items():
            took_s = sorted(_search(connection, query) for _ in range(searches))
            figures[f"{name}: p99, ms"] = 1_000 * took_s[(searches * 99 - 1) // 100]
            medians_s.append(took_s[searches // 2])
        figures["the slowest condition: p50, ms"] = 1_000 * max(medians_s)
        figures["a broker's CPU for a search, ms"] = 1_000 * (cpu_s(front.pid) - used_s) / searches / len(FILTERS)
        connection.close()
    return figures


def _search(connection: http.client.HTTPConnection, query: str) -> float:
    """Ask for a first page; return how long it took, in s."""
    began_s = time.monotonic()
    connection.request("GET", f"/v1/operate/streams?{query}", headers={"Authorization": "Bearer operator"})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != http.client.OK:
        raise RuntimeError(body.decode())
    return time.monotonic() - began_s


FIND: Final = Benchmark(
    name="find",
    title=f"An operator's search among {STREAMS:,} streams",
    note=f"The first page of 50 streams, {SEARCHES} times for each condition, one after the other at one broker, while "
    f"{LIVE} streams run. The first search fills the broker's table.",
    systems={OURS: partial(_run, OURS)},
    ratio=None,
    plotted=tuple(f"{name}: p99, ms" for name in FILTERS),
    headlines={},
)
