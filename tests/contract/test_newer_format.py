"""Streams of a newer version: a process leaves alone what it cannot read (PROTOCOL: State/Format)."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from midstream.access.api_keys import digest
from midstream.lifecycle.slips import Slips
from midstream.log.entries import Entry, encode
from midstream.log.errors import NewerFormat
from midstream.log.log import Log
from midstream.log.state import FORMAT
from midstream.log.values import Ending, Fence, NewStream
from midstream.settings import Settings
from tests import inside
from tests.contract.archives import export, write_stream
from tests.contract.lost_workers import claim_and_vanish, create_and_claim
from tests.contract.new_streams import create, ended_stream
from tests.contract.ws_talk import dial

NEWER = FORMAT + 1
INTERRUPTED = Ending([encode(Entry("end", {"outcome": "interrupted", "error": None}))], "interrupted")
START = {"model": "demo/count", "input": "count", "params": {"words": 3}}
OPERATE = "/v1/operate/streams/default/{}"
REQUESTS = (
    ("GET", "/v1/streams/{}", None),
    ("GET", "/v1/streams/{}?wait=1", None),
    ("GET", "/v1/streams/{}/events", None),
    ("GET", "/v1/streams/{}/entries", None),
    ("POST", "/v1/streams/{}/cancel", None),
    ("DELETE", "/v1/streams/{}", None),
    ("GET", "/v1/threads/t", None),
    ("GET", OPERATE, None),
    ("GET", f"{OPERATE}/entries", None),
    ("POST", f"{OPERATE}/cancel", None),
    ("POST", f"{OPERATE}/requeue", None),
    ("POST", f"{OPERATE}/seal", {"reason": "r"}),
    ("POST", f"{OPERATE}/trim", None),
    ("POST", f"{OPERATE}/retain", {"ttl_s": 60}),
    ("DELETE", OPERATE, None),
)
pytestmark = [pytest.mark.leaves_live, pytest.mark.leaves(keys=["arq:*"])]


async def age(redis: Redis, name: str) -> None:
    """Have a stream be one that a newer version has written."""
    written: Any = redis.hset(f"ms:{{{name}}}:state", mapping={"format": NEWER, "first": "unlike ours"})
    await written


async def dump(redis: Redis, name: str) -> tuple[dict[bytes, bytes], int]:
    """Return all that there is of a stream."""
    fields: Any = redis.hgetall(f"ms:{{{name}}}:state")
    return await fields, await redis.xlen(f"ms:{{{name}}}:log")


async def test_no_script_touches_what_only_a_newer_process_knows(redis: Redis) -> None:
    """State/Format: also where the process has read the state before another one changed it."""
    log = Log(redis, "ms")
    await create(log, "queued")
    running, fence = await create_and_claim(log, 1)
    state = await log.state(running)
    assert state is not None
    for name in ("queued", running):
        await age(redis, name)
    before = [await dump(redis, name) for name in ("queued", running)]
    refused: list[Awaitable[object]] = [
        create(log, "queued"),
        log.claim("queued", "older", 1_000),
        log.cancel("queued", INTERRUPTED),
        log.seal("queued", Fence.of_reaper(0), 0, INTERRUPTED),
        log.seal(running, Fence.of_reaper(1), 1, INTERRUPTED),
        log.release(running, Fence.of_reaper(1)),
        log.cancel(running, INTERRUPTED),
        log.delete(running, 60),
        log.retain(running, 60),
        log.trim(running, 1),
    ]
    for each in refused:
        with pytest.raises(NewerFormat):
            await each
    errors = [await log.many.seal({running: (state, INTERRUPTED)}), await log.many.shorten({running: 1})]
    assert all(isinstance(error[running], NewerFormat) for error in errors)
    assert [await dump(redis, name) for name in ("queued", running)] == before
    await log.append(running, fence, 1, [b"tx"])  # its own producer, a newer process, goes on


async def test_workers_and_reapers_leave_it_to_newer_ones(settings: Settings, redis: Redis) -> None:
    """State/Format: its slip goes back to the queue, and its lease may be over."""
    log, slips = Log(redis, "ms"), Slips(redis, "ms", 60)
    for name in ("lost", "lost-newer", "queued-newer"):
        await create(log, name, tenant="", look_in_ms=0, request=b'{"model":"demo/count","input":"count"}')
    for name in ("lost", "lost-newer"):
        await claim_and_vanish(redis, name, "a")
    for name in ("lost-newer", "queued-newer"):
        await age(redis, name)
    await slips.write("queued-newer", 0)
    before = [await dump(redis, name) for name in ("lost-newer", "queued-newer")]
    async with inside.broker(settings) as client, inside.worker(settings):
        await ended_stream(client, 3)  # the worker takes slips in their order
        async with asyncio.timeout(10):
            while (state := await log.state("lost")) is not None and state.epoch == 1 and not state.ended:
                await asyncio.sleep(0.02)
        assert await slips.place("queued-newer", 0) is not None
        assert await redis.zscore("ms:due", "lost-newer"), "it is handed to the next reaper"
    assert [await dump(redis, name) for name in ("lost-newer", "queued-newer")] == before


async def test_what_waits_for_it_keeps_no_other_stream_waiting(settings: Settings, redis: Redis) -> None:
    """Recovery/Many, Threads/Active: a start that would cancel what only a newer process can, and what nobody reads."""
    log = Log(redis, "ms")
    await create(log, "unreadable", look_in_ms=0)
    unreadable: Any = redis.hset("ms:{unreadable}:state", "format", "two")
    await unreadable
    of_thread = NewStream(digest="", tenant="default", thread="t", model="m", ttl_s=60, request=b"{}")
    await log.create("newer", of_thread, look_in_ms=60_000)
    await age(redis, "newer")
    await log.create("cancels", replace(of_thread, if_active="cancel"), look_in_ms=0)
    await create(log, "lost", look_in_ms=0)
    await claim_and_vanish(redis, "lost", "a")
    async with inside.broker(settings), asyncio.timeout(10):
        while (state := await log.state("lost")) is not None and state.status == "running":
            await asyncio.sleep(0.02)
    assert state is not None
    assert (state.status, state.epoch) == ("queued", 1)
    waiting = await log.state("cancels")
    assert waiting is not None
    assert waiting.waits == "cancel"


async def test_a_broker_answers_that_a_newer_one_can(settings: Settings, redis: Redis) -> None:
    """State/Format, Errors/Codes: at every door; it is listed and found."""
    async with inside.broker(settings) as client:
        keyed = {"Idempotency-Key": "k"}
        started = await client.post("/v1/streams", json=START | {"thread": "t"}, headers=keyed)
        stream_id = started.json()["id"]
        await age(redis, stream_id)
        before = await dump(redis, stream_id)
        answers = [await client.request(method, path.format(stream_id), json=body) for method, path, body in REQUESTS]
        answers.append(await client.post("/v1/streams", json=START | {"input": "another"}, headers=keyed))
        unlike = [
            (answer.request.method, answer.url.path, answer.text)
            for answer in answers
            if (answer.status_code, answer.headers.get("retry-after")) != (503, "1")
            or answer.json()["code"] != "newer_format"
        ]
        assert unlike == []
        of_peer = await client.get(f"/v1/responses/resp_{stream_id}")
        assert (of_peer.status_code, of_peer.json()["error"]["code"]) == (503, "newer_format")
        async with dial(client) as talk:
            await talk.say(type="tail", id=stream_id)
            assert (await talk.hear("error"))["code"] == "newer_format"
        for path in ("/v1/streams", "/v1/operate/streams"):
            (row,) = (await client.get(path)).json()["data"]
            assert (row["id"], row["status"], row["thread"]) == (stream_id, "queued", "t")
        many = {"act": "cancel", "where": {"status": "queued"}, "expect": 1}
        acted = await client.post("/v1/operate/acts", json=many)
        assert acted.json().get("refused") == {"newer_format": 1}, acted.text
        assert await dump(redis, stream_id) == before


async def test_another_users_stream_stays_absent(settings: Settings, redis: Redis, tmp_path: Path) -> None:
    """State/Format, I7."""
    path = tmp_path / "keys.toml"
    row = '[[keys]]\nname = "{0}"\nsha256 = "{1}"\ntenant = "acme"\nuser = "{0}"\n'
    path.write_text("".join(row.format(user, digest(user)) for user in ("ada", "bob")))
    async with inside.broker(settings.model_copy(update={"keys_file": path})) as client:
        of_ada, of_bob = ({"Authorization": f"Bearer {user}"} for user in ("ada", "bob"))
        stream_id = (await client.post("/v1/streams", json=START, headers=of_ada)).json()["id"]
        await age(redis, f"acme/{stream_id}")
        for rest in ("", "/events", "/entries"):
            url = f"/v1/streams/{stream_id}{rest}"
            statuses = [(await client.get(url, headers=headers)).status_code for headers in (of_ada, of_bob)]
            assert statuses == [503, 404], rest


async def test_archives_hold_no_stream_of_a_newer_format(redis: Redis, tmp_path: Path) -> None:
    """State/Format: it is named, so that a newer program exports it; test_archive_checks.py has the import."""
    for name in ("kept", "newer"):
        await write_stream(redis, name)
    await redis.hset("ms:{newer}:state", "format", str(FORMAT))  # type: ignore[misc]
    assert (await export(redis, tmp_path / "known")).streams == 2
    await age(redis, "newer")
    exported = await export(redis, tmp_path / "archive")
    assert (exported.streams, exported.unreadable) == (1, ["newer"])
