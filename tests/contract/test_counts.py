"""What happens is counted where it happens, once. PROTOCOL: Metrics/Names, Metrics/Cost."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from midstream import counters
from midstream.hub.lagging import Lagging
from midstream.log.connect import connect
from midstream.log.errors import LogUnavailable
from midstream.log.log import Log
from midstream.service.services import open_services
from midstream.settings import Settings
from midstream.testing.provider.script import Script, directive
from tests import inside
from tests.contract.access_calls import START, bearer, served
from tests.contract.lost_workers import create_and_claim
from tests.contract.worker_runs import paid_by
from tests.servers import free_port

Counted = Callable[[], dict[tuple[str, ...], int]]
LONG = {"model": "demo/count", "input": "x", "params": {"words": 2_000, "delay_ms": 5}}


@contextmanager
def counting() -> Iterator[Counted]:
    """Yield a function that returns what was counted since."""
    before = Counter(counters.counts())
    yield lambda: dict(Counter(counters.counts()) - before)


def measured(name: str) -> int:
    return sum(sum(each.numbers) for key, each in counters.distributions().items() if key[0] == name)


async def test_a_reapers_verdict_and_the_end_are_counted(settings: Settings) -> None:
    async with open_services(settings):
        client = connect(settings.redis_address, 5, 2)
        with counting() as counted:
            stream_id, _ = await create_and_claim(log := Log(client, "ms"), 200)
            async with asyncio.timeout(10):
                while (state := await log.state(stream_id)) is None or not state.ended:
                    await asyncio.sleep(0.02)
                while ("reaper_verdicts", "worker_lost") not in counted():
                    await asyncio.sleep(0.01)
        assert counted()["reaper_verdicts", "worker_lost"] == 1
        assert counted()["ends", "interrupted", "worker_lost"] == 1
        await client.aclose(close_connection_pool=True)


async def test_a_join_of_the_same_start_avoids_a_paid_call(settings: Settings, provider: Any) -> None:
    paid = paid_by(provider.url, settings)
    body = {"model": "openai/gpt-test", "input": directive(Script())}
    with counting() as counted:
        async with inside.worker(paid), inside.broker(paid) as client:
            for _ in range(3):
                answer = await client.post("/v1/streams", json=body, headers={"Idempotency-Key": "one"})
            await client.get(f"/v1/streams/{answer.json()['id']}", params={"wait": 10})
    assert counted()["starts", "new"] == 1
    assert counted()["starts", "found"] == counted()["paid_calls_avoided", "same_start"] == 2
    assert counted()["paid_calls",] == len(await provider.calls()) == 1


async def test_a_cancel_is_timed_from_its_news_to_the_end(settings: Settings) -> None:
    before = measured("cancel_seconds")
    async with inside.worker(settings), inside.broker(settings) as client:
        stream_id = (await client.post("/v1/streams", json=LONG)).json()["id"]
        async with asyncio.timeout(10):
            while (await client.get(f"/v1/streams/{stream_id}")).json()["status"] != "running":
                await asyncio.sleep(0.01)
        with counting() as counted:
            await client.post(f"/v1/streams/{stream_id}/cancel")
            state = await client.get(f"/v1/streams/{stream_id}", params={"wait": 10})
    assert state.json()["outcome"] == "cancelled"
    assert counted()["ends", "cancelled", ""] == 1
    assert measured("cancel_seconds") == before + 1


async def test_tails_and_refused_credentials_are_counted(settings: Settings) -> None:
    with counting() as counted:
        async with served(settings) as client:
            stream_id = (await client.post("/v1/streams", json=START, headers=bearer("admin"))).json()["id"]
            whole = await client.get(f"/v1/streams/{stream_id}/events", headers=bearer("admin"))
            rest = await client.get(
                f"/v1/streams/{stream_id}/events", headers={**bearer("admin"), "Last-Event-ID": "2"}
            )
            await client.get(f"/v1/streams/{stream_id}", headers=bearer("nobody"))
    assert rest.text.startswith("id: 3") or "\nid: 3" in rest.text
    assert whole.text.endswith(rest.text.partition("id: 3")[2])
    assert counted()["tails_opened", "start"] == counted()["tails_opened", "resume"] == 1
    assert counted()["replays",] >= 1
    assert counted()["credentials_refused", "unauthorized"] == 1


async def test_an_absent_server_is_counted_by_its_code() -> None:
    client = connect(f"redis://127.0.0.1:{free_port()}/0", 1, 1)
    with counting() as counted:
        with pytest.raises(LogUnavailable):
            await Log(client, "ms").state("x")
        assert counted()["redis_errors", "no_answer"] == 1
        assert counted()["redis_connects",] >= 1
    await client.aclose(close_connection_pool=True)


def test_a_client_that_is_cut_for_its_lag_is_counted() -> None:
    class Client:
        def cut(self) -> None:
            lagging.remove(self)

    lagging = Lagging(10)
    with counting() as counted:
        lagging.add(Client(), 8)
        lagging.add(Client(), 8)
    assert counted() == {("limit_exceeded", "process", "unsent_bytes"): 1}
