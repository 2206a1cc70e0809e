"""The Python client against a real HTTP server that cuts, stalls, repeats, skips and refuses. I2, I5, I9."""

import asyncio
import json
from contextlib import aclosing, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midstream.client.client import ClientEntry, Midstream, MidstreamError
from tests.contract.scripted_broker import (
    LENGTH,
    LOG,
    SSE_HEAD,
    Answer,
    Exchange,
    ScriptedBroker,
    drop,
    frame,
    refuse,
    replay,
    scripted_broker,
    send,
    stall,
)


async def read(broker: ScriptedBroker, after: int = 0, *, max_failures: int = 20) -> list[ClientEntry]:
    async with Midstream(broker.url, heartbeat_s=0.05, max_failures=max_failures) as midstream:
        return [entry async for entry in midstream.tail("s1", after)]


CUTS = st.one_of(
    st.builds(replay, st.integers(0, 4), back=st.integers(0, 5), skip=st.integers(0, 2), spill=st.integers(0, 20)),
    st.sampled_from((refuse(503, "log_unavailable"), drop)),
)


# The first failure waits for the default second unless a `retry:` came before it.
@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(CUTS, max_size=6))
async def test_over_any_cuts_every_entry_comes_once_and_in_order(cuts: list[Answer]) -> None:
    async with scripted_broker(replay(0), *cuts, replay()) as broker:
        assert await read(broker) == LOG


async def test_it_goes_on_after_what_it_has() -> None:
    async with scripted_broker(replay(3), replay(4), replay()) as broker:
        assert await read(broker) == LOG
    assert broker.cursors == ["0", "3", "7"]


async def test_it_begins_after_the_cursor() -> None:
    async with scripted_broker(replay()) as broker:
        assert await read(broker, after=10) == LOG[10:]
    assert broker.cursors == ["10"]


async def test_a_gap_is_not_delivered_but_read_again() -> None:
    async with scripted_broker(replay(3), replay(4, skip=1), replay()) as broker:
        assert await read(broker) == LOG
    assert broker.cursors == ["0", "3", "3"]


async def test_a_silent_connection_is_given_up() -> None:
    async with scripted_broker(replay(2), stall, replay()) as broker:
        assert await read(broker) == LOG
    assert broker.cursors == ["0", "2", "2"]


async def test_nothing_more_is_asked_for_after_the_end() -> None:
    async with scripted_broker(replay()) as broker:
        assert (await read(broker))[-1].type == "end"
        assert len(broker.exchanges) == 1


async def test_204_says_that_everything_was_read() -> None:
    async with scripted_broker(replay(LENGTH - 1), send(204, "")) as broker:
        assert await read(broker) == LOG[:-1]


async def test_a_reset_is_passed_on_and_the_log_read_from_its_start() -> None:
    async def ahead(exchange: Exchange) -> None:
        exchange.writer.write(SSE_HEAD)
        reset = b'id: 0\nevent: reset\ndata: {"type":"reset","reason":"cursor_ahead"}\n\n'
        await exchange.chunk(reset + frame(1) + frame(2))

    async with scripted_broker(replay(0), ahead, replay()) as broker:
        assert await read(broker, after=99) == [ClientEntry(0, "reset", {"reason": "cursor_ahead"}), *LOG]
    assert broker.cursors == ["99", "99", "2"]


async def test_a_logged_reset_is_an_entry_like_others() -> None:
    async def reset(exchange: Exchange) -> None:
        exchange.writer.write(SSE_HEAD)
        logged = b'id: 2\nevent: reset\ndata: {"type":"reset","reason":"restart"}\n\n'
        await exchange.chunk(frame(1) + logged + b"".join(map(frame, range(3, LENGTH + 1))))

    async with scripted_broker(reset) as broker:
        expected = [LOG[0], ClientEntry(2, "reset", {"reason": "restart"}), *LOG[2:]]
        assert await read(broker) == expected


async def test_it_gives_up_after_so_many_failures_in_a_row() -> None:
    async with scripted_broker(replay(2), replay(0)) as broker:
        with pytest.raises(MidstreamError) as caught:
            await read(broker, max_failures=3)
    assert caught.value.code == "unreachable"
    assert broker.cursors == ["0", "2", "2", "2"]


async def test_what_no_retry_can_change_is_raised_with_its_code() -> None:
    async with scripted_broker(refuse(410, "cursor_trimmed")) as broker:
        with pytest.raises(MidstreamError) as caught:
            await read(broker)
    assert (caught.value.code, caught.value.status, caught.value.detail) == ("cursor_trimmed", 410, "because")
    assert len(broker.exchanges) == 1


async def test_a_refusal_tells_what_does_not_fit_and_its_facts() -> None:
    errors = [{"at": "body.params", "message": "Input should be a valid dictionary"}, {"at": "body.x", "message": "no"}]
    document = {"code": "bad_request", "detail": "It does not fit.", "status": 400, "errors": errors, "limit": 7}
    async with scripted_broker(send(400, document)) as broker, Midstream(broker.url) as midstream:
        with pytest.raises(MidstreamError) as caught:
            await midstream.start("hi")
    assert caught.value.errors == (("body.params", "Input should be a valid dictionary"), ("body.x", "no"))
    assert caught.value.facts["limit"] == 7
    assert str(caught.value) == (
        "bad_request: It does not fit.; body.params: Input should be a valid dictionary; body.x: no"
    )


async def test_retry_after_is_honoured() -> None:
    async with scripted_broker(replay(1), refuse(503, "log_unavailable", "Retry-After: 1\r\n"), replay()) as broker:
        started_s = asyncio.get_running_loop().time()
        assert await read(broker) == LOG
        assert asyncio.get_running_loop().time() - started_s >= 1.0


async def test_leaving_a_tail_early_closes_its_connection() -> None:
    left = asyncio.Event()

    async def follow(exchange: Exchange) -> None:
        exchange.writer.write(SSE_HEAD)
        await exchange.chunk(frame(1))
        with suppress(ConnectionError):
            while True:
                await exchange.chunk(b":\n")
                await asyncio.sleep(0.01)
        left.set()

    async with scripted_broker(follow) as broker, Midstream(broker.url) as midstream:
        async with aclosing(midstream.tail("s1")) as entries:
            assert await anext(entries) == LOG[0]
        await asyncio.wait_for(left.wait(), 5)


async def test_the_retries_of_one_start_share_one_idempotency_key() -> None:
    async with scripted_broker(drop, refuse(503, "log_unavailable"), send(201, {"id": "s1"})) as broker:
        async with Midstream(broker.url) as midstream:
            assert await midstream.start("hi", model="demo/x", thread=None) == {"id": "s1"}
        keys = {exchange.header("Idempotency-Key") for exchange in broker.exchanges}
    assert len(broker.exchanges) == 3
    assert len(keys) == 1
    assert None not in keys
    assert json.loads(broker.exchanges[-1].body) == {"input": "hi", "model": "demo/x"}


async def test_two_starts_have_two_keys_and_a_given_key_is_kept() -> None:
    async with scripted_broker(send(201, {"id": "s1"})) as broker, Midstream(broker.url, "secret") as midstream:
        await midstream.start("hi")
        await midstream.start([{"role": "user", "content": "hi"}])
        await midstream.start("hi", idempotency_key="mine")
        first, second, third = (exchange.header("Idempotency-Key") for exchange in broker.exchanges)
        assert first != second
        assert third == "mine"
        assert broker.exchanges[0].header("Authorization") == "Bearer secret"


async def test_a_broker_that_is_away_is_unreachable() -> None:
    async with scripted_broker(drop) as broker, Midstream(broker.url, tries=2) as midstream:
        with pytest.raises(MidstreamError) as caught:
            await midstream.state("s1")
        assert (caught.value.code, caught.value.status) == ("unreachable", 0)
        assert len(broker.exchanges) == 2


async def test_a_proxys_error_page_has_a_code_too() -> None:
    async with scripted_broker(send(403, ["not a problem document"])) as broker, Midstream(broker.url) as midstream:
        with pytest.raises(MidstreamError) as caught:
            await midstream.cancel("s1")
    assert (caught.value.code, caught.value.status) == ("http_403", 403)


async def test_an_id_can_not_lead_out_of_its_path() -> None:
    async with scripted_broker(send(200, {})) as broker, Midstream(broker.url) as midstream:
        await midstream.state("../models?x#y")
        assert broker.exchanges[0].line == "GET /v1/streams/..%2Fmodels%3Fx%23y HTTP/1.1"
