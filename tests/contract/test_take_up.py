"""A key whose producer was lost is taken up, and its steps are known (PROTOCOL: Produce/Taken up, Step/Producer)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from redis.asyncio import Redis

import midstream
from midstream import sync
from midstream.access.ids import OPEN_SECRET
from midstream.service.taken_up import taken_up_id
from midstream.settings import Settings
from tests import inside

KEY = "order-77"
STEP = {"order": 77}

till: list[int] = []


@pytest.fixture(autouse=True)
async def client(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx2.AsyncClient]:
    till.clear()
    monkeypatch.setenv("MIDSTREAM_REDIS_URL", settings.redis_address)
    monkeypatch.setenv("MIDSTREAM_LEASE_MS", str(settings.lease_ms))
    monkeypatch.setenv("MIDSTREAM_MAX_ATTEMPTS", "3")
    async with inside.broker(settings.model_copy(update={"max_attempts": 3})) as client:
        yield client


def pay() -> int:
    till.append(1)
    return len(till)


@pytest.fixture(params=["redis", "broker"])
def way(request: pytest.FixtureRequest, client: httpx2.AsyncClient) -> str | None:
    """Return the address by which the producer reaches its stream."""
    return None if request.param == "redis" else str(client.base_url)


async def lost(at: str, way: str | None = None, **fields: Any) -> str:
    """Have a producer of the key stopped in its step, or after it; return its stream."""
    there: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def stay(stream_id: str) -> None:
        there.set_result(stream_id)
        await asyncio.Event().wait()

    async def produced() -> None:
        async with midstream.produce(way, key=KEY, **fields) as out:
            await out.text("I look. ")

            async def pay_and_stay() -> None:
                pay()
                await stay(out.id)

            receipt = await out.once("pay", STEP, pay if at == "after" else pay_and_stay)
            await out.text(f"Paid: {receipt}. ")
            await stay(out.id)

    task = asyncio.create_task(produced())
    stream_id = await there
    task.cancel()
    await asyncio.wait((task,))
    return stream_id


async def outcome_of(client: httpx2.AsyncClient, stream_id: str) -> tuple[str, str | None, str]:
    state = (await client.get(f"/v1/streams/{stream_id}", params={"wait": 5})).json()
    return state["outcome"], (state["error"] or {}).get("code"), state["output"]["text"]


async def test_a_key_is_taken_up_once_at_a_time(client: httpx2.AsyncClient, way: str | None) -> None:
    """Produce/Taken up, Step/Producer."""
    first = await lost("after", way)
    with pytest.raises(midstream.ProduceError, match="already_produced"):
        await midstream.produce(way, key=KEY).__aenter__()
    with pytest.raises(midstream.ProduceError, match="idempotency_mismatch"):
        await midstream.produce(way, key=KEY, take_up=True, thread="t2").__aenter__()
    ids: list[str] = []

    async def produced() -> str:
        try:
            async with midstream.produce(way, key=KEY, take_up=True) as out:
                ids.append(out.id)
                await out.text(f"Paid: {await out.once('pay', STEP, pay)}. ")
        except midstream.ProduceError as error:
            return error.code
        return "produced"

    assert sorted(await asyncio.gather(produced(), produced(), produced())) == ["already_produced"] * 2 + ["produced"]
    assert ids == [taken_up_id(OPEN_SECRET, "default", KEY, 2)] != [first]
    assert await outcome_of(client, first) == ("interrupted", "producer_lost", "I look. Paid: 1. ")
    assert await outcome_of(client, ids[0]) == ("completed", None, "Paid: 1. ")
    assert await produced() == "already_produced", "what has completed is not taken up"
    assert till == [1]


@pytest.mark.parametrize(
    ("unknown", "end", "paid"),
    [
        ("ask", ("interrupted", "step_unknown"), 1),
        ("fail", ("failed", "step_failed"), 1),
        ("retry", ("completed", None), 2),
    ],
)
async def test_an_unknown_step(
    client: httpx2.AsyncClient, unknown: Any, end: tuple[str, str | None], paid: int, way: str | None
) -> None:
    """Step/Unknown, Step/Producer."""
    await lost("in", None if way else str(client.base_url))  # the two ways know of each other's steps
    error: Exception | None = None
    out = midstream.produce(way, key=KEY, take_up=True)
    try:
        async with out:
            await out.once("pay", STEP, pay, unknown=unknown)
    except midstream.StepUnknownError as unknown_error:
        error = unknown_error
    assert (await outcome_of(client, out.id))[:2] == end
    assert (len(till), error is None) == (paid, unknown == "retry")


async def test_a_block_that_goes_on_after_an_unknown_step_writes_nothing(client: httpx2.AsyncClient) -> None:
    """Step/Unknown."""
    await lost("in")
    out = midstream.produce(key=KEY, take_up=True)

    async def goes_on() -> None:
        async with out:
            try:
                await out.once("pay", STEP, pay)
            except midstream.StepUnknownError:
                await out.text("I look at the till myself.")

    with pytest.raises(midstream.ProduceError, match="step_unknown"):
        await goes_on()
    assert await outcome_of(client, out.id) == ("interrupted", "step_unknown", "")


async def test_a_key_is_taken_up_so_many_times(client: httpx2.AsyncClient, redis: Redis, way: str | None) -> None:
    """Produce/Taken up."""
    streams = [await lost("after", way, take_up=True) for _ in range(3)]
    assert [await outcome_of(client, each) for each in streams] == [
        ("interrupted", "producer_lost", "I look. Paid: 1. ")
    ] * 3
    await redis.delete(*(f"ms:{{{streams[0]}}}:{part}" for part in ("state", "log")))  # as if it had expired
    for take_up, code in ((True, "attempts_exhausted"), (False, "already_produced")):
        with pytest.raises(midstream.ProduceError, match=code):
            await midstream.produce(way, key=KEY, take_up=take_up).__aenter__()


async def test_steps_of_streams_that_are_gone(client: httpx2.AsyncClient) -> None:
    """Produce/Taken up: nobody knows them, so nothing is done again."""
    streams = [await lost("after", take_up=True) for _ in range(2)]
    out = midstream.produce(key=KEY, take_up=True)

    async def pays_too_late() -> None:
        async with out:
            await client.delete(f"/v1/streams/{streams[0]}")
            await out.once("pay", STEP, pay)

    with pytest.raises(midstream.ProduceError, match="stream_deleted"):
        await pays_too_late()
    assert (await outcome_of(client, out.id))[0] == "failed"
    await client.delete(f"/v1/streams/{out.id}")
    with pytest.raises(midstream.ProduceError, match="stream_deleted"):
        await midstream.produce(key=KEY, take_up=True).__aenter__()
    assert till == [1]


async def test_steps_of_threads(client: httpx2.AsyncClient) -> None:
    """Step/Producer, Produce/Threads."""

    def produced() -> str:
        with sync.produce() as out:
            receipts = [out.once("pay", STEP, pay) for _ in range(2)]
            with pytest.raises(ZeroDivisionError):
                out.once("divide", {}, lambda: 1 // 0)
            with pytest.raises(midstream.StepUnknownError):
                out.once("divide", {}, pay, unknown="fail")
            out.text(str(receipts))
        return out.id

    assert (await outcome_of(client, await asyncio.to_thread(produced)))[2] == "[1, 1]"
    async with midstream.produce() as out:
        for arguments in ({"more": "x" * 70_000}, {"till": object()}):
            with pytest.raises(midstream.UnfitStepError):
                await out.once("pay", arguments, pay)
    with pytest.raises(ValueError, match="needs a key"):
        midstream.produce(take_up=True)
    assert till == [1]
