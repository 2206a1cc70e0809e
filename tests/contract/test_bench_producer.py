"""The producer of `scripts/bench` stands for many workers: what it sends has to be an append as the log has it."""

import asyncio
import json
import sys
from pathlib import Path

from redis.asyncio import Redis

from midstream.log.keys import stream_name
from midstream.log.log import Log
from scripts.benchmarks.producer import MIDSTREAM, PREFIX, TENANT

ROOT = Path(__file__).parents[2]


async def test_the_benchmarks_producer_appends_and_seals_as_the_log_does(redis: Redis, redis_url: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "scripts.benchmarks.producer", redis_url, MIDSTREAM, "2", "40"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    written, _ = await process.communicate(b"3 0\nend\n")
    assert process.returncode == 0
    log = Log(redis, PREFIX)
    for stream_id in json.loads(written.splitlines()[0]):
        state = await log.state(stream_name(TENANT, stream_id))
        assert state is not None
        assert (state.outcome, state.tail) == ("completed", 5)  # the start, three entries, the end
