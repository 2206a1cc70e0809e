"""Appends of many streams that leave together: each has its own answer, whatever becomes of the others."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from midstream.log.calls import Append, Call
from midstream.log.connect import connect
from midstream.log.errors import LogError, LogUnavailable, TailMismatch
from midstream.log.fsync import Fsync
from midstream.log.gathered import MOST_BYTES, Gathered
from midstream.log.log import Log
from midstream.log.scripts import Scripts
from tests.contract.producer_and_sink import Producer
from tests.servers import ValkeyProcess

STREAMS = 20


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ValkeyProcess]:
    with ValkeyProcess(tmp_path, {"appendfsync": "always"}) as server:
        yield server


@pytest.fixture
async def log(server: ValkeyProcess) -> AsyncIterator[Log]:
    async with connect(server.url, 1, 4) as client:
        yield Log(client, "ms")


@pytest.fixture
async def producers(log: Log) -> list[Producer]:
    producers = [Producer(log) for _ in range(STREAMS)]
    for producer in producers:
        await producer.begin()
    return producers


async def tails(log: Log, producers: list[Producer]) -> list[int]:
    states = await log.states([producer.id for producer in producers])
    return [state.tail for state in states if state is not None]


async def forget_scripts(server: ValkeyProcess) -> None:
    async with connect(server.url, 10, 1) as own:
        await own.script_flush()


async def test_appends_at_once_are_one_write(server: ValkeyProcess, log: Log, producers: list[Producer]) -> None:
    await asyncio.gather(*(producer.write(1) for producer in producers))  # now the server knows the script
    async with connect(server.url, 10, 1) as own:
        before = (await own.info("stats"))["total_reads_processed"]
        await asyncio.gather(*(producer.write(1) for producer in producers))
        reads = (await own.info("stats"))["total_reads_processed"] - before
    assert reads < STREAMS / 4
    assert await tails(log, producers) == [3] * STREAMS


async def test_one_that_is_refused_harms_no_other(log: Log, producers: list[Producer]) -> None:
    producers[3].tail = 9
    answers = await asyncio.gather(*(producer.write(1) for producer in producers), return_exceptions=True)
    assert [type(answer) for answer in answers if answer is not None] == [TailMismatch]
    assert await tails(log, producers) == [2] * 3 + [1] + [2] * (STREAMS - 4)


async def test_a_server_that_has_forgotten_the_scripts_is_sent_them(
    server: ValkeyProcess, log: Log, producers: list[Producer]
) -> None:
    await forget_scripts(server)
    await asyncio.gather(*(producer.write(1) for producer in producers))
    assert await tails(log, producers) == [2] * STREAMS


@pytest.mark.usefixtures("producers")  # the server has known the scripts
async def test_a_server_that_has_forgotten_the_scripts_begins_a_stream_all_the_same(
    server: ValkeyProcess, log: Log
) -> None:
    await forget_scripts(server)
    late = Producer(log)
    await late.begin()
    assert await tails(log, [late]) == [1]
    async with connect(server.url, 10, 1) as own:
        assert await own.zscore(log.keys.due, late.id) is not None, "a reaper looks at it"


async def test_a_server_that_has_forgotten_the_scripts_says_what_is_on_its_disk(server: ValkeyProcess) -> None:
    async with connect(server.url, 10, 1) as own:
        fsync = Fsync(own, "ms")
        assert await fsync.wait()
        await forget_scripts(server)
        assert await fsync.wait()


async def test_who_is_cancelled_before_it_leaves_writes_nothing(log: Log, producers: list[Producer]) -> None:
    writing = [asyncio.create_task(producer.write(1)) for producer in producers]
    await asyncio.sleep(0)  # each has called its script, and none has left
    writing[1].cancel()
    await asyncio.gather(*writing, return_exceptions=True)
    assert await tails(log, producers) == [2, 1] + [2] * (STREAMS - 2)


async def test_each_is_told_that_the_server_is_away_and_may_come_again(
    server: ValkeyProcess, log: Log, producers: list[Producer]
) -> None:
    server.kill()
    answers = await asyncio.gather(*(producer.write(1) for producer in producers), return_exceptions=True)
    assert {type(answer) for answer in answers} == {LogUnavailable}
    server.start()
    await asyncio.gather(*(producer.write(1) for producer in producers))
    assert await tails(log, producers) == [2] * STREAMS


class Counting(Scripts):
    """Counts the scripts that leave together."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self.batches: list[int] = []

    async def run_each(self, calls: Sequence[Call]) -> list[list[Any] | LogError]:
        self.batches.append(len(calls))
        return await super().run_each(calls)


async def test_what_is_large_keeps_few_others_waiting(server: ValkeyProcess, log: Log) -> None:
    """Each is half of what may leave together."""
    async with connect(server.url, 5, 4) as client:
        scripts = Counting(client)
        gathered = Gathered(scripts)
        producers = [Producer(log) for _ in range(7)]
        for producer in producers:
            await producer.begin()
        answers = await asyncio.gather(*(gathered.run(append_of(log, producer)) for producer in producers))
    assert [answer[0] for answer in answers] == [b"ok"] * 7
    assert scripts.batches == [2, 2, 2], "after the first one, which left alone"


def append_of(log: Log, producer: Producer) -> Append:
    return Append(
        state=log.keys.state(producer.id),
        log=log.keys.log(producer.id),
        epoch=producer.fence.epoch,
        owner=producer.fence.owner,
        expected_tail=producer.tail,
        channel=log.keys.channel(producer.id),
        entries=[b"t" + b"x" * (MOST_BYTES // 2)],
    )
