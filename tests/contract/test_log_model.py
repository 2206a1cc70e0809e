"""The log's scripts against a model of a few lines: any order of calls, by owners, zombies and the reaper.

After each step the log must be what the model says: dense (I1), with one end that is the last entry (I3), and with
nothing of an older epoch after a newer one (I6).
"""

import asyncio
import itertools
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from midstream.log.connect import connect
from midstream.log.entries import END, OUTCOMES, Entry, encode
from midstream.log.errors import (
    IdempotencyMismatch,
    LogError,
    StaleEpoch,
    StreamAbsent,
    StreamDeleted,
    TailMismatch,
)
from midstream.log.keys import new_id
from midstream.log.log import Log
from midstream.log.values import Ending, Fence
from tests.contract.log_model import Model
from tests.contract.new_streams import create

T = TypeVar("T")

LEASE_MS = TTL_S = 60_000
OFF_BY = st.sampled_from((0, 0, 0, 0, -1, 2))  # mostly the right tail
SELDOM = st.sampled_from((False, False, False, True))
MODEL_NAME = "m"


def end(outcome: str) -> bytes:
    return encode(Entry(END, {"outcome": outcome}))


def is_running(machine: Any) -> bool:
    return bool(machine.model.status == "running")


class LogMachine(RuleBasedStateMachine):
    """Calls the log and the model alike, and compares."""

    fences = Bundle("fences")

    url: str

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.redis: Any = connect(self.url, 5.0, 2)  # its types cannot tell await from plain
        self.log = Log(self.redis, "ms")
        self.stream_id = new_id()
        self.keys = (self.log.keys.state(self.stream_id), self.log.keys.log(self.stream_id))
        self.model = Model()
        self.owners = (f"owner{number}" for number in itertools.count(1))

    def teardown(self) -> None:
        self.run(self.redis.delete(*self.keys, self.log.keys.near(self.stream_id).due))
        self.run(self.redis.aclose(close_connection_pool=True))
        self.runner.close()

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    def done(self, call: Coroutine[Any, Any, T], refusal: type[LogError] | None) -> T | None:
        """Make a call of which the model knows whether it is refused, and how; return its result or None."""
        if refusal is None:
            return self.run(call)
        with pytest.raises(refusal):
            self.run(call)
        return None

    @initialize()
    def begin(self) -> None:
        self.create("one body")

    @rule(digest=st.sampled_from(("one body", "another body")), sure=SELDOM)
    def create_again(self, digest: str, sure: bool) -> None:
        if sure or not self.model.status:
            self.create(digest)

    def create(self, digest: str) -> None:
        model = self.model
        refusal: type[LogError] | None = None
        if model.status == "deleted":
            refusal = StreamDeleted
        elif model.status and model.digest != digest:
            refusal = IdempotencyMismatch
        created = self.done(create(self.log, self.stream_id, digest=digest, model=MODEL_NAME), refusal)
        assert (created is not None) == (not model.status)
        if created is not None:
            self.model = Model("queued", digest)

    @rule(target=fences)
    def claim(self) -> Any:
        model, owner = self.model, next(self.owners)
        refusal = model.gone() or (StaleEpoch if model.status != "queued" else None)
        claimed = self.done(self.log.claim(self.stream_id, owner, LEASE_MS), refusal)
        if claimed is None:
            return multiple()
        model.epoch += 1
        model.status, model.owner, model.leased = "running", owner, True
        model.write([b's{"epoch":%d,"model":"%s"}' % (model.epoch, MODEL_NAME.encode())])
        assert (claimed.fence, claimed.state.tail) == (Fence(model.epoch, owner), len(model.rows))
        return claimed.fence

    @precondition(is_running)
    @rule(number=st.integers(1, 3), off_by=OFF_BY)
    def append(self, number: int, off_by: int) -> None:
        self._append(self.model.fence, number, off_by)

    @rule(fence=fences)
    def zombie_appends(self, fence: Fence) -> None:
        """A producer of any time ago: it was paused, or its stream was deleted, expired and even created anew."""
        self._append(fence, 1, 0)

    def _append(self, fence: Fence, number: int, off_by: int) -> None:
        model, tail = self.model, len(self.model.rows)
        contents = [b"t%d" % n for n in range(number)]
        refusal = model.gone() or model.fenced(fence) or (TailMismatch if off_by else None)
        appended = self.done(self.log.append(self.stream_id, fence, tail + off_by, contents), refusal)
        if appended is not None:
            model.write(contents)
            assert appended == len(model.rows)

    @precondition(is_running)
    @rule()
    def renew(self) -> None:
        self._renew(self.model.fence)

    @rule(fence=fences)
    def zombie_renews(self, fence: Fence) -> None:
        self._renew(fence)

    def _renew(self, fence: Fence) -> None:
        model = self.model
        is_cancelled = self.done(self.log.renew(self.stream_id, fence, LEASE_MS), model.gone() or model.fenced(fence))
        if is_cancelled is not None:
            model.leased = True
            assert is_cancelled == model.cancelled

    @precondition(is_running)
    @rule(outcome=st.sampled_from(OUTCOMES), off_by=OFF_BY, sure=st.booleans())
    def seal(self, outcome: str, off_by: int, sure: bool) -> None:
        if sure or off_by:
            self._seal(self.model.fence, outcome, off_by)

    @rule(fence=fences, outcome=st.sampled_from(OUTCOMES))
    def zombie_seals(self, fence: Fence, outcome: str) -> None:
        if fence != self.model.fence:
            self._seal(fence, outcome, 0)

    @rule(outcome=st.sampled_from(OUTCOMES), epochs_back=st.sampled_from((0, 1)), off_by=OFF_BY)
    def reaper_seals(self, outcome: str, epochs_back: int, off_by: int) -> None:
        """The reaper has read the state a moment ago; by now an epoch may have passed."""
        if self.model.status != "queued":
            self._seal(Fence(self.model.epoch - epochs_back, ""), outcome, off_by)

    def _seal(self, fence: Fence, outcome: str, off_by: int) -> None:
        model, tail = self.model, len(self.model.rows)
        contents = [b"tlast", end(outcome)]
        refusal = model.gone() or model.fenced(fence) or (TailMismatch if off_by else None)
        if self.done(self.log.seal(self.stream_id, fence, tail + off_by, Ending(contents, outcome)), refusal):
            model.write(contents)
            model.end(outcome)

    @precondition(is_running)
    @rule()
    def release(self) -> None:
        self._release(self.model.fence)

    @rule(fence=fences)
    def zombie_releases(self, fence: Fence) -> None:
        self._release(fence)

    @rule(epochs_back=st.sampled_from((0, 0, 1)))
    def reaper_releases(self, epochs_back: int) -> None:
        self._release(Fence(self.model.epoch - epochs_back, ""))

    def _release(self, fence: Fence) -> None:
        model = self.model
        refusal = model.gone() or (StaleEpoch if model.status != "running" else model.fenced(fence))
        self.done(self.log.release(self.stream_id, fence), refusal)
        if refusal is None:
            model.status, model.owner, model.leased = "queued", "", False

    @rule(sure=SELDOM)
    def cancel(self, sure: bool) -> None:
        model = self.model
        if model.status == "queued" and not sure:
            return
        ending = Ending([end("cancelled")], "cancelled")
        sealed = self.done(self.log.cancel(self.stream_id, ending), model.gone())
        if sealed is not None:
            assert sealed == (model.status == "queued")
            model.cancelled = True
        if sealed:
            model.write([end("cancelled")])
            model.end("cancelled")

    @precondition(is_running)
    @rule()
    def expire_lease(self) -> None:
        """As if the lease's time were over."""
        self.run(self.redis.hset(self.keys[0], "lease_until_ms", 1))
        self.model.leased = False

    @rule(sure=SELDOM)
    def delete(self, sure: bool) -> None:
        if not sure:
            return
        refusal = StreamAbsent if self.model.status in ("", "deleted") else None
        self.done(self.log.delete(self.stream_id, TTL_S), refusal)
        if refusal is None:
            self.model = Model("deleted", epoch=self.model.epoch)

    @precondition(lambda self: self.model.status in ("ended", "deleted"))
    @rule()
    def expire(self) -> None:
        """As if the time to live of an ended stream, or of a tombstone, were over."""
        self.run(self.redis.delete(*self.keys))
        self.model = Model()

    @invariant()
    def the_log_is_what_the_model_says(self) -> None:
        model = self.model
        state, rows = self.run(self.log.read(self.stream_id, 0, 1_000))
        assert [row.offset for row in rows] == list(range(1, len(rows) + 1))  # I1
        assert [(row.epoch, row.content) for row in rows] == model.rows
        assert [row.epoch for row in rows] == sorted(row.epoch for row in rows)  # I6
        ends = [row.offset for row in rows if row.content.startswith(b"e")]
        assert ends == ([len(rows)] if model.status == "ended" else [])  # I3
        if state is None:
            assert model.status in ("", "deleted")
            return
        assert (state.status, state.epoch, state.owner, state.tail, state.outcome, bool(state.lease_until_ms > 1)) == (
            model.status,
            model.epoch,
            model.owner,
            len(model.rows),
            model.outcome,
            model.leased,
        )

    @invariant()
    def only_what_is_over_expires(self) -> None:
        """I8, and its other side: a live stream never vanishes under its readers."""
        over = self.model.status in ("ended", "deleted")
        for key in self.keys:
            ttl = self.run(self.redis.ttl(key))
            assert ttl == -2 or (ttl > 0) == over, (key, ttl)


def test_any_order_of_calls_keeps_the_log_whole(redis_url: str) -> None:
    """Append/Fence, Append/Tail, Append/Dense, Append/Sealed, Seal/One, Cancel/One."""

    class Machine(LogMachine):
        url = redis_url

    run_state_machine_as_test(Machine, settings=settings(max_examples=120, stateful_step_count=30, deadline=None))
