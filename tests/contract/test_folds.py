"""Sums over logs that are looked at again and again (PROTOCOL: Operate/Looks)."""

from collections.abc import Iterable
from typing import Any

import pytest
from redis.asyncio import Redis

from midstream.log import folds
from midstream.log.entries import Timed
from midstream.log.folds import Folds
from midstream.log.log import Log
from midstream.log.owners import new_owner
from midstream.log.state import State
from midstream.log.values import NewStream

NAME = "s1"
pytestmark = pytest.mark.leaves_live


class Offsets:
    """The offsets that were added, and of all sums of a test together."""

    ever: list[int]

    def __init__(self) -> None:
        self.offsets: list[int] = []

    def add(self, page: Iterable[Timed]) -> None:
        """Note the offsets."""
        new = [timed.entry.offset for timed in page]
        self.offsets += new
        self.ever.extend(new)


class Written:
    """A stream of which a test writes the log."""

    def __init__(self, redis: Redis) -> None:
        self.redis: Any = redis
        self.log = Log(redis, "ms")
        self._fence: Any = None
        self.folds = Folds(self.log)

    async def begin(self, name: str = NAME) -> None:
        """Create it, and claim it."""
        new = NewStream(digest="d", tenant="default", model="demo/x", ttl_s=60, request=b"{}")
        await self.log.create(name, new, look_in_ms=60_000)
        fence = (await self.log.claim(name, new_owner("web-1:42:beef"), 60_000)).fence
        if name == NAME:
            self._fence = fence

    async def append(self, number: int) -> None:
        """Append so many entries."""
        state = await self.state()
        await self.log.append(NAME, self._fence, state.tail, [b"tx"] * number)

    async def state(self, name: str = NAME) -> State:
        """Return its state."""
        state = await self.log.state(name)
        assert state is not None
        return state

    async def look(self, most: int = 1_000) -> list[int]:
        """Return the offsets of the sum over it."""
        return (await self.folds.fold(Offsets, NAME, await self.state(), most)).offsets


@pytest.fixture
async def written(redis: Redis) -> Written:
    Offsets.ever = []
    written = Written(redis)
    await written.begin()
    return written


async def test_each_look_adds_what_has_come_since(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    """Operate/Looks."""
    monkeypatch.setattr(folds, "PAGE", 4)
    for number in (9, 0, 1, 30):
        if number:
            await written.append(number)
        tail = (await written.state()).tail
        assert await written.look() == [*range(1, tail + 1)]
    assert Offsets.ever == [*range(1, tail + 1)], "no entry was added twice"
    assert await written.look(most=7) == [*range(1, tail + 1)], "what was added is not taken away"


async def test_a_sum_that_was_returned_is_the_askers_own(written: Written) -> None:
    """Operate/Looks."""
    (await written.folds.fold(Offsets, NAME, await written.state())).offsets.clear()
    assert await written.look() == [1]


async def test_a_log_that_was_written_anew_is_read_anew(written: Written) -> None:
    """Operate/Looks, Log/Failover: the new primary lacked the last entries, and others came in their place."""
    await written.append(9)
    await written.look()
    state_key, log_key = written.log.keys.state(NAME), written.log.keys.log(NAME)
    rows: list[Any] = [(f"{offset}-1", {"7": f"t{offset}"}) for offset in range(1, 11)]
    await written.redis.delete(log_key)
    for row_id, fields in rows:
        await written.redis.xadd(log_key, fields, id=row_id)
    assert int(await written.redis.hget(state_key, "tail") or 0) == len(rows)
    Offsets.ever.clear()
    assert await written.look() == [*range(1, 11)]
    assert Offsets.ever == [*range(1, 11)]


async def test_the_sums_that_were_asked_for_last_are_kept(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    """Operate/Looks."""
    monkeypatch.setattr(folds, "MOST_STREAMS", 1)
    await written.look()
    await written.begin("s2")
    await written.folds.fold(Offsets, "s2", await written.state("s2"))
    assert await written.look() == [1]
    assert Offsets.ever == [1, 1, 1]
    monkeypatch.setattr(folds, "MOST_ENTRIES", 0)
    await written.append(1)
    assert await written.look() == [1, 2]
    assert await written.look() == [1, 2]
    assert Offsets.ever == [1, 1, 1, 2, 1, 2]
