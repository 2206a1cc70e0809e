"""A hub on the empty server, and one stream that a test appends to by hand."""

from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from midstream.hub.hub import Hub
from midstream.log.connect import connect
from midstream.log.errors import StreamAbsent
from midstream.log.log import Log
from tests.contract.producer_and_sink import WINDOW_BYTES, Producer


@pytest.fixture
async def log(redis_url: str) -> AsyncIterator[Log]:
    client = connect(redis_url, 2, 8)
    log = Log(client, "ms")
    yield log
    await client.delete(log.keys.near("x").due)  # there is no reaper here that would
    await client.aclose()


@pytest.fixture
async def hub(redis_url: str, log: Log) -> AsyncIterator[Hub]:
    client = connect(redis_url, 2, 8)
    hub = Hub(log, client, window_bytes=WINDOW_BYTES, heartbeat_ms=60_000, timeout_s=2)
    await hub.start()
    yield hub
    await hub.stop()
    await client.aclose()


@pytest.fixture
async def producer(log: Log) -> AsyncIterator[Producer]:
    producer = Producer(log)
    await producer.begin()
    yield producer
    with suppress(StreamAbsent):
        await log.delete(producer.id, 1)
