"""Several brokers on one port and several workers: clients notice nothing of it."""

import asyncio
import signal
from pathlib import Path

import pytest

from tests import sse
from tests.system import System


@pytest.mark.timeout(120)
async def test_brokers_on_one_port_and_workers_share_the_load(redis_url: str, tmp_path: Path) -> None:
    async with System(redis_url, tmp_path, demo_delay_ms=2) as system:
        system.broker_arguments = ("--workers", "3")
        await system.start(brokers=1, workers=2)
        ids = [await system.post(model="demo/count", input="x", params={"words": 200}) for _ in range(10)]
        tails = await asyncio.gather(*(sse.tail(system.http, stream_id) for stream_id in ids for _ in range(3)))
        assert all([event.id for event in events] == list(range(1, len(events) + 1)) for events in tails)
        assert {events[-1].data["outcome"] for events in tails} == {"completed"}

        system.brokers[0].send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(system.brokers[0].wait(), 10) == 0
