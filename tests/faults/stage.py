"""What every family does with its volley: start the streams, watch them, wait for their ends, gather the facts."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx2
import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

from midstream.log.connect import keys_of
from midstream.log.entries import Entry, decode
from tests.faults.reader import Reader
from tests.faults.rig import LEASE_MS, Rig
from tests.faults.trial import TAG, Trial

POLL_S = 0.02
ENDS_S = 15.0
READERS_S = 8.0
QUIET_S = 0.15


def now_ms() -> float:
    """Return this machine's clock, which is the server's too."""
    return time.time() * 1000


async def post(rig: Rig, trial: Trial, **more: Any) -> None:
    """Start a trial's stream; a broker that is away is asked again under the same key."""
    if rig.fleet and rig.fleet.tenants:
        trial.tenant = rig.fleet.tenants[trial.case.number % len(rig.fleet.tenants)]
    headers = {"Idempotency-Key": trial.case.tag} | trial.headers
    async with asyncio.timeout(ENDS_S):
        while True:
            url = f"{rig.random.choice(rig.urls)}/v1/streams"
            try:
                answer = await rig.http.post(url, json=trial.case.body(**more), headers=headers)
            except httpx2.TransportError:
                answer = None
            if answer is not None and answer.status_code in (200, 201):
                trial.stream_id = answer.json()["id"]
                return
            if answer is not None and answer.status_code != 503:
                raise RuntimeError(f"a start was answered by {answer.status_code}: {answer.text}")
            await asyncio.sleep(0.05)


async def begin(rig: Rig, trials: Sequence[Trial], *, readers: int = 2, **more: Any) -> None:
    """Start all streams, and the clients that read them: of two, one stays and one comes and goes."""
    await asyncio.gather(*(post(rig, trial, **more) for trial in trials))
    for trial in trials:
        read(rig, trial, readers)


def read(rig: Rig, trial: Trial, readers: int = 2) -> None:
    """Have clients read a trial's stream."""
    for number in range(readers):
        flaps = random.Random(rig.random.random()) if number % 2 else None  # noqa: S311
        urls = rig.random.sample(rig.urls, len(rig.urls))
        trial.readers.append(Reader(rig.http, urls, trial.stream_id, trial.headers, flaps=flaps))
        trial.reading.append(asyncio.create_task(trial.readers[-1].run()))


async def states(redis: Redis, trials: Sequence[Trial]) -> list[dict[str, str]]:
    """Return the states of all streams as they stand in Redis; empty where there is none."""
    pipe = redis.pipeline(transaction=False)
    for trial in trials:
        pipe.hgetall(keys_of(redis, "ms").state(trial.name))
    rows = await pipe.execute()
    return [{name.decode(): value.decode() for name, value in row.items()} for row in rows]


async def until(rig: Rig, trials: Sequence[Trial], holds: Callable[[dict[str, str]], bool], limit_s: float) -> bool:
    """Wait until a condition holds of every stream's state; return whether it came to that."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        try:
            if all(holds(state) for state in await states(rig.redis, trials)):
                return True
        except (RedisError, OSError):
            pass  # the server is away: that is what is being tested
        await asyncio.sleep(POLL_S)
    return False


async def quiet(rig: Rig, trials: Sequence[Trial], limit_s: float = 6.0) -> None:
    """Wait until all streams run, or have ended, and nothing is appended any more."""
    await until(rig, trials, lambda state: state.get("status") in ("running", "ended"), limit_s)
    deadline = time.monotonic() + limit_s
    tails: list[str | None] = []
    since = time.monotonic()
    while time.monotonic() - since < QUIET_S and time.monotonic() < deadline:
        await asyncio.sleep(POLL_S)
        seen_tails = [state.get("tail") for state in await states(rig.redis, trials)]
        if seen_tails != tails:
            tails, since = seen_tails, time.monotonic()


def ended(state: dict[str, str]) -> bool:
    """Tell whether a stream has ended, or is gone."""
    return state.get("status") in (None, "ended", "deleted")


async def settle(rig: Rig, trials: Sequence[Trial], *, limit_s: float = ENDS_S) -> None:
    """Wait for all ends and all clients, then gather what the log, the provider and the clients say."""
    before = rig.starved_ms()
    await until(rig, trials, ended, limit_s)
    starved_ms = rig.starved_since(before)
    reading = [task for trial in trials for task in trial.reading]
    if reading:
        await asyncio.wait(reading, timeout=READERS_S)
    for task in reading:
        task.cancel()
    for failure in await asyncio.gather(*reading, return_exceptions=True):
        if isinstance(failure, Exception):
            raise failure
    for trial, state in zip(trials, await states(rig.redis, trials), strict=True):
        trial.state = state
        trial.starved_ms = starved_ms
        trial.entries = await entries(rig.redis, trial.name)
        _measure(trial)
    await note_calls(rig, trials)


async def note_calls(rig: Rig, trials: Sequence[Trial]) -> None:
    """Note what the provider says of each trial's calls."""
    calls: dict[str, list[dict[str, Any]]] = {}
    for call in await rig.provider.calls():
        match = TAG.search(orjson.dumps(call["body"]).decode())
        if match:
            calls.setdefault(match[0], []).append(call)
    for trial in trials:
        trial.calls = calls.get(trial.case.tag, [])


async def entries(redis: Redis, name: str) -> list[Entry]:
    """Return a stream's log, past midstream itself."""
    rows = await redis.xrange(keys_of(redis, "ms").log(name))
    stored = []
    for row_id, fields in rows:
        offset, _, epoch = row_id.partition(b"-")
        (content,) = fields.values()
        stored.append(decode(content, int(offset), int(epoch)))
    return stored


def _measure(trial: Trial) -> None:
    """Note how late the first sign of life after the producer's death came: the end, or the next attempt."""
    if not trial.died_ms:
        return
    ended_ms, started_ms = float(trial.state.get("ended_ms") or 0), float(trial.state.get("started_ms") or 0)
    sign_ms = started_ms if started_ms > trial.died_ms else ended_ms
    if sign_ms > trial.died_ms:
        trial.late_ms = sign_ms - trial.died_ms - LEASE_MS
