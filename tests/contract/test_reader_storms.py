"""Many readers of one ended stream at once, as when a browser with many tabs starts again. PROTOCOL: Read/Alive."""

import asyncio

import httpx2
import pytest

from midstream.settings import Settings
from tests import inside
from tests.loop_alarm import frozen_after

pytestmark = pytest.mark.both_ways

BURSTS = 8
SHORT = {"model": "demo/count", "input": "x", "params": {"words": 3, "delay_ms": 0}}
PATHS = ("/v1/streams/{id}/events", "/v1/streams/{id}?wait=1", "/v1/responses/resp_{id}?stream=true")


async def read(client: httpx2.AsyncClient, path: str, gate: asyncio.Event) -> bytes:
    """Connect, and ask when the gate opens: all questions arrive together."""
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    try:
        await gate.wait()
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("readers", [3, 8, 32])
@pytest.mark.parametrize("paths", [PATHS[:1], PATHS], ids=["events", "all doors"])
async def test_a_burst_of_readers_of_an_ended_stream(settings: Settings, readers: int, paths: tuple[str, ...]) -> None:
    async with inside.worker(settings), inside.broker(settings) as client:
        stream_id = (await client.post("/v1/streams", json=SHORT)).json()["id"]
        await client.get(f"/v1/streams/{stream_id}", params={"wait": 10})
        for _ in range(BURSTS):
            gate = asyncio.Event()
            requested = [paths[number % len(paths)].format(id=stream_id) for number in range(readers)]
            reading = [asyncio.create_task(read(client, path, gate)) for path in requested]
            await asyncio.sleep(0)
            gate.set()
            with frozen_after(10):
                answers = await asyncio.gather(*reading)
            assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)
            tails = [answer for answer in answers if b"text/event-stream" in answer]  # a state has the number of tails
            assert len({answer.partition(b"\r\n\r\n")[2] for answer in tails}) <= len(paths)
