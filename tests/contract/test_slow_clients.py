"""Clients that read slowly or not at all: they are bounded, and harm nobody else. I8, I9."""

import asyncio

import pytest

from midstream.settings import Settings
from tests import inside, sse
from tests.contract.long_answers import LONG, with_long
from tests.contract.raw_connections import next_answer, unread_tail

pytestmark = pytest.mark.both_ways


async def test_a_client_that_never_reads_is_cut_and_harms_nobody(settings: Settings) -> None:
    quick = with_long(settings, send_timeout_ms=500)
    async with inside.worker(quick), inside.broker(quick) as client:
        stream_id = (await client.post("/v1/streams", json=LONG)).json()["id"]
        connection = await unread_tail(client, stream_id)
        good = await sse.tail(client, stream_id)
        assert [event.id for event in good] == list(range(1, len(good) + 1))
        assert good[-1].type == "end"
        async with asyncio.timeout(10):
            while (await client.get(f"/v1/streams/{stream_id}")).json()["tails"]:
                await asyncio.sleep(0.05)
        connection.close()


async def test_a_slow_client_lags_and_still_gets_everything(settings: Settings) -> None:
    long = with_long(settings)
    async with inside.worker(long), inside.broker(long) as client:
        stream_id = (await client.post("/v1/streams", json=LONG)).json()["id"]
        connection = await unread_tail(client, stream_id)
        fast = await sse.tail(client, stream_id)
        reader, writer = await asyncio.open_connection(sock=connection)
        _, body = await next_answer(reader)  # fails where the server gives up on a client that reads
        writer.close()
        ids = [int(line[4:]) for line in body.split(b"\n") if line.startswith(b"id: ")]
        assert ids == [event.id for event in fast]
