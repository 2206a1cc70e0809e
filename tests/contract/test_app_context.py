"""What an app is given, how it may be written, and what it saves (PROTOCOL: Apps)."""

import asyncio
import functools
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

import midstream
from midstream import AppContext, BlockingAppContext, UnfitStateError
from midstream.app_registry import with_app_modules
from midstream.attempts.out import Out
from midstream.log.entries import Json
from midstream.log.errors import StaleEpoch
from midstream.log.keys import new_id
from midstream.log.log import Log
from midstream.log.saved import SavedStates
from midstream.settings import Settings
from midstream_worker.sources.app_signature import AppSignatureError, signature_of
from midstream_worker.sources.providers import Sources
from tests import inside
from tests.contract.lost_workers import create_and_claim
from tests.contract.worker_runs import client_of, read

opened: list[str] = []


@asynccontextmanager
async def pool() -> AsyncIterator[dict[str, str]]:
    opened.append("opened")
    yield {"pool": "of connections"}
    opened.append("closed")


@asynccontextmanager
async def broken_pool() -> AsyncIterator[None]:
    for reason in ("no database",):
        raise OSError(reason)
    yield


@midstream.app("facts", lifespan=pool)
async def facts(_: list[Json], _params: Json, *, context: AppContext) -> AsyncIterator[str]:
    context.logger.info("asked")
    names = ("tenant", "user", "thread", "metadata", "idempotency_key", "attempt", "objects", "cancelled")
    yield repr([getattr(context, name) for name in names])


@midstream.app("counts")
def counts(_: list[Json], params: Json, context: BlockingAppContext) -> Iterator[str]:
    """A plain generator."""
    try:
        context.save({"turns": (context.state or {"turns": 0})["turns"] + 1, "more": "x" * params.get("more", 0)})
    except UnfitStateError as error:
        yield f"{error} "
    yield str(context.state["turns"] if context.state else None)


@midstream.app("writes")
async def writes(messages: list[Json], _: Json, out: Out, context: AppContext) -> None:
    """A coroutine that yields nothing."""
    await out.text(f"{messages[-1]['content']} {context.attempt}")
    await out.source(url="https://example.org")
    for number in range(200):
        await out.text(f" {number}")
    out.finish("length")  # type: ignore[attr-defined]


@midstream.app("fails")
async def fails(_: list[Json], _params: Json, out: Out) -> None:
    await out.text("So far. ")
    raise ValueError


@midstream.app("broken", lifespan=broken_pool)
async def broken(_: list[Json], _params: Json) -> AsyncIterator[str]:
    yield "x"


def too_little(_: list[Json]) -> Iterator[str]:
    yield ""


def too_much(_: list[Json], _params: Json, pool: object) -> Iterator[str]:
    yield str(pool)


def no_coroutine(_: list[Json], _params: Json, out: Out) -> Iterator[str]:
    yield str(out)


def optional(_: list[Json], _params: Json, pool: object = None, *further: Any, **more: Any) -> Iterator[str]:
    yield str((pool, further, more))


class Answerer:
    """An object that can be called."""

    def __call__(self, _: list[Json], _params: Json, context: BlockingAppContext) -> Iterator[str]:
        yield str(context)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    opened.clear()
    return with_app_modules(settings.model_copy(update={"app_modules": __name__}))


async def test_an_app_is_given_its_context(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """App/Context, App/Lifespan, App/Modules."""
    start: dict[str, Any] = {"user": "ada", "thread": "t1", "metadata": {"shop": "7"}, "idempotency_key": "order-77"}
    async with client_of(settings) as client:
        got = await read(client, (await client.start("x", model="app/facts", **start))["id"])
        failed = await read(client, (await client.start("x", model="app/broken"))["id"])
        assert opened == ["opened"]
    expected = ["default", "ada", "t1", {"shop": "7"}, "order-77", 1, {"pool": "of connections"}, False]
    assert got.joined("text") == repr(expected)
    assert opened == ["opened", "closed"]
    assert failed.state["error"]["message"] == "The app broken could not be opened."
    assert any("the lifespan of the app broken" in line for line in caplog.messages)


async def test_an_app_may_write_to_out(settings: Settings) -> None:
    """App/Signature."""
    async with client_of(settings) as client:
        got = await read(client, (await client.start("Count:", model="app/writes"))["id"])
        failed = await read(client, (await client.start("x", model="app/fails"))["id"])
    assert got.joined("text") == "Count: 1" + "".join(f" {number}" for number in range(200))
    assert (got.of("source"), got.state["finish_reason"]) == ([{"url": "https://example.org"}], "length")
    assert (failed.end, failed.joined("text")) == (("failed", "source_error"), "So far. ")


async def test_what_an_app_saves_is_its_threads(settings: Settings, redis: Redis) -> None:
    """App/State, Delete/User."""
    settings = settings.model_copy(update={"app_state_bytes": 1_000})

    async def turn(**fields: Any) -> str:
        stream = await client.start("x", model="app/counts", **fields)
        return (await read(client, stream["id"])).joined("text")

    async with client_of(settings) as client, inside.broker(settings) as http:
        assert [await turn(thread="t1", user="ada") for _ in range(2)] == ["1", "2"]
        assert [await turn(thread="t2", user="ada"), await turn(thread="t1"), await turn(thread="t1", user="bob")] == (
            ["1", "1", "1"]
        )
        assert await turn() == "A stream without a thread has no state that could be saved. None"
        too_large = await turn(thread="t1", user="ada", params={"more": 1_000})
        assert too_large.endswith("bytes of JSON, and may have 1000 (MIDSTREAM_APP_STATE_BYTES). 2")
        assert (await http.delete("/v1/users/ada")).json()["deleted"] == 4
        assert [await turn(thread="t1", user="ada"), await turn(thread="t1", user="bob")] == ["1", "2"]
    kept = [key async for key in redis.scan_iter("ms:saved:*")]
    assert kept
    assert all([0 < await redis.ttl(key) <= settings.app_state_ttl_s for key in kept])


@pytest.mark.leaves_live
async def test_who_has_lost_the_stream_saves_nothing(redis: Redis) -> None:
    """App/State."""
    log, saved = Log(redis, "ms"), SavedStates(redis, "ms")
    stream_id, fence = await create_and_claim(log, 60_000)
    await saved.save(stream_id, fence, "ada", "app", "t1", b"1", keep_s=60)
    with pytest.raises(StaleEpoch):
        await saved.save(stream_id, type(fence)(fence.epoch + 1, "other"), "ada", "app", "t1", b"2", keep_s=60)
    assert await saved.load(stream_id, "ada", "app", "t1") == (b"1", None)
    await saved.save(stream_id, fence, "ada", "app", "t1", b"", keep_s=60)
    assert await saved.load(new_id(), "ada", "app", "t1") == (None, None)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (too_little, "takes too little"),
        (too_much, "nothing fills its parameter `pool`"),
        (no_coroutine, "has to be an `async def`"),
        (functools.partial(too_much, pool=1), ""),
        (optional, ""),
        (Answerer(), ""),
    ],
)
def test_a_wrong_signature_is_named_at_the_start(function: Callable[..., Any], words: str) -> None:
    """App/Signature."""
    if not words:
        signature = signature_of(function)
        assert signature.blocks
        assert signature.takes_context == isinstance(function, Answerer)
        return
    path = f"{__name__}:{function.__name__}"
    with pytest.raises(AppSignatureError, match=re.escape(f"the app mine ({path}) cannot be called: ") + f".*{words}"):
        Sources(Settings(apps={"facts": f"{__name__}:facts", "mine": path})).warm()


def test_a_worker_does_not_start_with_a_wrong_signature() -> None:
    """App/Signature, Processes/Unfit."""
    environment = os.environ | {"MIDSTREAM_APPS": '{"mine": "json:dumps"}'}
    words = (sys.executable, "-m", "midstream_worker")
    worker = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert (worker.returncode, worker.stdout) == (2, "")
    assert "the app mine (json:dumps) cannot be called: it takes too little" in worker.stderr


def test_a_module_that_cannot_be_imported_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """App/Modules."""
    settings = with_app_modules(Settings(app_modules=f"no.such.module,{__name__}", apps={"facts": "mine:facts"}))
    assert {"counts", "writes"} <= settings.apps.keys()
    assert settings.apps["facts"] == "mine:facts"
    assert "the module no.such.module of MIDSTREAM_APP_MODULES cannot be imported" in caplog.text
    with pytest.raises(ValueError, match="the app facts is"):
        midstream.app("facts")(too_little)
    assert asyncio.iscoroutinefunction(writes)
