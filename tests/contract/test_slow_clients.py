"""Clients that read slowly or not at all: they are bounded, and harm nobody else. I8, I9."""

import asyncio

import pytest

from midstream.settings import Settings
from tests import inside, sse
from tests.contract.raw_connections import LONG, unread_tail


@pytest.mark.parametrize("wire", [True, False], ids=["wire", "send"])
async def test_a_client_that_never_reads_is_cut_and_harms_nobody(settings: Settings, wire: bool) -> None:
    quick = settings.model_copy(update={"send_timeout_ms": 500})
    async with inside.worker(quick), inside.broker(quick, wire=wire) as client:
        stream_id = (await client.post("/v1/streams", json=LONG)).json()["id"]
        connection = await unread_tail(client, stream_id)
        good = await sse.tail(client, stream_id)
        assert [event.id for event in good] == list(range(1, len(good) + 1))
        assert good[-1].type == "end"
        async with asyncio.timeout(10):
            while (await client.get(f"/v1/streams/{stream_id}")).json()["tails"]:
                await asyncio.sleep(0.05)
        connection.close()


@pytest.mark.parametrize("wire", [True, False], ids=["wire", "send"])
async def test_a_slow_client_lags_and_still_gets_everything(settings: Settings, wire: bool) -> None:
    async with inside.worker(settings), inside.broker(settings, wire=wire) as client:
        stream_id = (await client.post("/v1/streams", json=LONG)).json()["id"]
        connection = await unread_tail(client, stream_id)
        fast = await sse.tail(client, stream_id)
        loop = asyncio.get_running_loop()
        received = bytearray()
        while not received.endswith(b"0\r\n\r\n"):
            part = await loop.sock_recv(connection, 65_536)
            assert part, "the server gave up on a client that reads"
            received += part
        connection.close()
        ids = [int(line[4:]) for line in received.split(b"\n") if line.startswith(b"id: ")]
        assert ids == [event.id for event in fast]
