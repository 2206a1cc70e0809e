"""Whatever goes wrong in a worker ends its stream as `failed`, at once and once (PROTOCOL: Seal/Always)."""

import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from midstream.attempts.attempt import Attempt
from midstream.lifecycle.slips import Slips
from midstream.log.keys import new_id
from midstream.log.log import Log
from midstream.log.state import State
from midstream.settings import Settings
from midstream_worker.generation import Generation
from midstream_worker.parts import WorkerParts
from midstream_worker.sources.deltas import Delta, Finish, Text, Usage
from midstream_worker.sources.one_connection import OneConnection
from midstream_worker.sources.providers import Sources
from midstream_worker.sources.source import Prompt, Source
from tests import inside
from tests.contract.new_streams import create
from tests.contract.worker_runs import client_alone

BODY = b'{"model": "app/odd", "input": "x"}'


async def accepted(redis: Redis, body: bytes, policy: str) -> str:
    """Put a stream on the log as a broker does."""
    stream_id = new_id()
    await create(Log(redis, "ms"), stream_id, tenant="default", model="app/odd", policy=policy, request=body)
    return stream_id


@pytest.mark.parametrize("body", [b"[" * 250 + b"]" * 250, b"\xff", b"{}", b""], ids=["deep", "bytes", "empty", "none"])
async def test_a_request_that_no_worker_can_read_fails_at_once(settings: Settings, redis: Redis, body: bytes) -> None:
    stream_id = await accepted(redis, body, "restart")
    async with client_alone(settings) as client, inside.worker(settings):
        began_s = time.monotonic()
        await Slips(redis, "ms", 60).write(stream_id, 0, new=True)
        start, end = [entry async for entry in client.tail(stream_id)]
    assert (start.type, end.data["outcome"], end.data["error"]["code"]) == ("start", "failed", "internal")
    assert time.monotonic() - began_s < settings.lease_ms / 1_000


class Odd(OneConnection):
    """A source that yields what no entry can hold."""

    paid = True

    def __init__(self, deltas: list[Delta]) -> None:
        self._deltas = deltas

    async def open(self, _prompt: Prompt) -> AsyncGenerator[Delta]:
        for delta in self._deltas:
            yield delta

    async def aclose(self) -> None:
        """Do nothing."""


class Only(Sources):
    """The sources of a worker that has one."""

    def __init__(self, settings: Settings, source: Odd) -> None:
        super().__init__(settings)
        self._only = source

    def get(self, _model: str) -> tuple[Source, str]:
        return cast("Source", self._only), "odd"


ODD: Any = {1}


@pytest.mark.parametrize(
    "deltas", [[Text("a"), Finish(ODD)], [Text("a"), Usage(1, 1, ODD), Finish("stop")]], ids=["finish", "usage"]
)
async def test_an_end_that_cannot_be_written_is_written_plainly(
    settings: Settings, redis: Redis, deltas: list[Delta]
) -> None:
    parts = replace(WorkerParts.connected(settings, redis, redis, redis), sources=Only(settings, Odd(deltas)))
    stream_id = await accepted(redis, BODY, "interrupt")
    attempt, body = await Attempt.claim(parts, stream_id, "me")
    await Generation(parts, attempt, body).run()
    state = await parts.log.state(stream_id)
    assert isinstance(state, State)
    assert (state.status, state.outcome) == ("ended", "failed")
    await redis.delete("ms:due")
