"""A broker that is told to stop parts from its tails, which another one carries on.

PROTOCOL: Read/Truthful, Drain/Ready, Drain/Spread.
"""

import asyncio
import json
import signal
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.contract.long_answers import APPS, LONG
from tests.contract.raw_connections import next_answer, open_connection, tail_request, unread_tail
from tests.system import System

pytestmark = pytest.mark.both_ways

UNREADY_MS = 400
DRAIN_MS = 500
STOP_S = 6.0
"""The time until the drain, the drain, rounded up, what requests get after it, and a slow machine."""
PACED = {"model": "demo/count", "input": "x", "params": {"words": 120, "delay_ms": 50}}


async def test_tails_are_parted_from_and_go_on_elsewhere(redis_url: str, tmp_path: Path, fast_path: str) -> None:
    """Read/Truthful; Drain/Ready: what comes while proxies learn of the stop is served, and parted from later."""
    drain: dict[str, Any] = {"broker_unready_ms": UNREADY_MS, "broker_drain_ms": DRAIN_MS}
    system = System(redis_url, tmp_path, fast_path=fast_path, apps=json.dumps(APPS), **drain)
    async with system:
        await system.start()
        stream_id = await system.post(**PACED)
        async with httpx2.AsyncClient(base_url=system.url) as client:
            reader, writer = await open_connection(client)
            writer.write(tail_request(stream_id))
            long_id = await system.post(**LONG)
            await system.ended(long_id)
            lagging = await unread_tail(client, long_id)
            await asyncio.get_running_loop().sock_recv(lagging, 1)
        began_s = time.monotonic()
        system.brokers[0].send_signal(signal.SIGTERM)
        while (ready := await system.http.get("/readyz")).status_code == 200:
            await asyncio.sleep(0.02)
        assert (ready.status_code, ready.json()["code"], "retry-after" in ready.headers) == (503, "stopping", True)
        late = await system.http.get(f"/v1/streams/{stream_id}/events")
        assert "event: text" in late.text
        assert "event: end" not in late.text
        assert time.monotonic() - began_s > UNREADY_MS / 1_000
        _, body = await next_answer(reader)  # complete, though the stream is not
        assert body.count(b"retry: ") == 2
        assert b"event: end" not in body
        await asyncio.wait_for(system.brokers[0].wait(), STOP_S)
        assert time.monotonic() - began_s < STOP_S
        await system.start_broker()
        last = max(int(line[4:]) for line in body.split(b"\n") if line.startswith(b"id: "))
        answer = await system.http.get(f"/v1/streams/{stream_id}/events?after={last}")
        ids = [int(line[4:]) for line in answer.text.split("\n") if line.startswith("id: ")]
        assert ids == list(range(last + 1, last + 1 + len(ids)))
        assert "event: end" in answer.text
        writer.close()
        lagging.close()
