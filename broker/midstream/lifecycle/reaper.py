"""Looks after every stream that has not ended, in every broker and every worker, with no leader.

Streams whose producer was lost are sealed or given back to the queue within a lease and a second; queued
streams whose slip got lost are queued again (PROTOCOL: Recovery). It runs in the brokers too, so that a
reader hears the truth when no worker is left alive.
"""

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from typing import Final

from midstream.lifecycle.ending import end_entry
from midstream.lifecycle.server_clock import ServerClock
from midstream.lifecycle.slips import Slips
from midstream.lifecycle.verdict import Requeue, Seal, Shorten, Verdict, Wait, judge, look_again_ms
from midstream.log.entries import encode
from midstream.log.errors import (
    LeaseHeld,
    LogError,
    LogUnavailable,
    StaleEpoch,
    StreamAbsent,
    StreamSealed,
    TailMismatch,
)
from midstream.log.forever import forever
from midstream.log.log import Log
from midstream.log.many import Ending
from midstream.log.registry import Registry
from midstream.log.state import State
from midstream.settings import Settings

logger = logging.getLogger(__name__)

TICK_S: Final = 0.2
AGAIN_MS: Final = 400
"""A stream that one reaper was handed is handed to another after this long, should the first have died."""
PAGE: Final = 250
LANES: Final = 4
"""Pages that are looked at side by side, where there is more than one."""
FURTHEST_MS: Final = 10_000
"""Nobody watches a stream further ahead than this, or two leases."""
SILENCE_LEASES: Final = 2 / 3
"""Owners renew every third of a lease, so a log that was silent for less than this has let no lease run out."""
CLOCK_TOLERANCE_LEASES: Final = 1 / 6

_Came = (LeaseHeld, StaleEpoch, TailMismatch, StreamSealed, StreamAbsent)
"""A stream's owner came back, or another reaper was quicker; the stream is still watched, so look again."""


class Reaper:
    """One process's share of the looking after.

    Args:
        clock: The process' view of the server's clock, where it is shared; see `clock_of`.
    """

    def __init__(
        self, log: Log, registry: Registry, slips: Slips, settings: Settings, clock: ServerClock | None = None
    ) -> None:
        self._log = log
        self._registry = registry
        self._slips = slips
        self._settings = settings
        self._clock = clock or clock_of(settings)
        self._furthest_ms = max(FURTHEST_MS, 2 * settings.lease_ms)
        self._task: asyncio.Task[None] | None = None
        self._answered_s = self._patient_until_s = 0.0

    def start(self) -> None:
        """Look after streams until `stop`."""
        self._task = asyncio.create_task(forever("reaper", self._run), name="reaper")

    async def stop(self) -> None:
        """Stop; what was being looked at is handed to another reaper."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        self._answered_s = time.monotonic()
        # Whether the log was silent before we came is not known, so owners of leases from before are heard first.
        self._patient_until_s = self._answered_s + self._settings.lease_ms / 1000
        while True:
            # Jitter: reapers that started together drift apart.
            await asyncio.sleep(TICK_S * random.uniform(0.75, 1.25))  # noqa: S311
            if await self._page():
                await asyncio.gather(*(self._lane() for _ in range(LANES)))

    async def _lane(self) -> None:
        while await self._page():
            pass

    async def _page(self) -> bool:
        """Look at a page of what is due; return whether there may be more."""
        try:
            asked_s = time.monotonic()
            now_ms, due_ms = await self._registry.due(AGAIN_MS, PAGE, self._furthest_ms)
            self._heard(now_ms, asked_s)
            await self._look(due_ms, now_ms)
        except LogUnavailable as error:
            logger.warning("reaper: %s", error)
        except Exception:
            logger.exception("reaper: a look failed and will be repeated")
        else:
            return len(due_ms) >= PAGE
        return False

    def _heard(self, now_ms: int, asked_s: float) -> None:
        """The log has answered; where it was silent for long, or its clock was set, its owners are heard first."""
        now_s, lease_s = time.monotonic(), self._settings.lease_ms / 1000
        set_ms = self._clock.hear(now_ms, asked_s, now_s)
        silent_s, self._answered_s = now_s - self._answered_s, now_s
        if set_ms:
            logger.warning("reaper: the clock of Redis was set by %.1f s; waiting a lease", set_ms / 1000)
        elif silent_s > lease_s * SILENCE_LEASES:
            logger.warning("reaper: the log was silent for %.1f s; waiting a lease before anybody is lost", silent_s)
        else:
            return
        self._patient_until_s = now_s + lease_s

    async def _look(self, due_ms: Mapping[str, int], now_ms: int) -> None:
        """Look at streams, which were due at those times; `now_ms` is the server's time."""
        if not due_ms:
            return
        patient = time.monotonic() < self._patient_until_s
        over: list[str] = []
        looks_ms: dict[str, int] = {}
        sealed: dict[str, tuple[State, Seal]] = {}
        queued: dict[str, State] = {}
        leased: dict[str, State] = {}
        for stream_id, state in zip(due_ms, await self._log.many.states([*due_ms]), strict=True):
            if isinstance(state, LogError):
                # What cannot be read, such as a key that is somebody else's, keeps no other stream waiting.
                logger.warning("reaper: %s: %s", stream_id, state)
                continue
            if state is None or state.ended:
                over.append(stream_id)
                continue
            if state.status == "running" and patient:
                continue  # handed out again, to us or to another
            match self._judge(state, due_ms[stream_id], now_ms):
                case Wait(delay_ms):
                    looks_ms[stream_id] = now_ms + delay_ms
                case Requeue():
                    queued[stream_id] = state
                case Shorten():
                    leased[stream_id] = state
                case Seal() as seal:
                    sealed[stream_id] = state, seal
        over += await self._seal(sealed, now_ms)
        looks_ms |= await self._requeue(queued, now_ms)
        looks_ms |= await self._shorten(leased, now_ms)
        await self._registry.watch_again(looks_ms)
        await self._registry.unwatch(*over)

    def _judge(self, state: State, due_ms: int, now_ms: int) -> Verdict:
        # A lease that ran out, or a look that was due, long ago: nobody was there.
        since_ms = state.lease_until_ms if state.status == "running" else due_ms
        return judge(
            state,
            now_ms,
            self._settings,
            queued_for_ms=self._clock.age_ms(state.queued_ms, now_ms),
            unwatched_ms=self._clock.age_ms(since_ms, now_ms),
        )

    async def _seal(self, sealed: Mapping[str, tuple[State, Seal]], now_ms: int) -> list[str]:
        endings = []
        told: dict[str, list[str]] = {}
        for stream_id, (state, seal) in sealed.items():
            told.setdefault(f"{seal.outcome} ({seal.code or 'asked for'})", []).append(stream_id)
            error = {"code": seal.code, "message": seal.message} if seal.code else None
            end = encode(end_entry(seal.outcome, state=state, now_ms=now_ms, error=error))
            endings.append(Ending(stream_id, state.epoch, state.tail, end, seal.outcome, state.ttl_s))
        for how, stream_ids in told.items():  # a line for each of thousands would take longer than sealing them
            logger.warning("sealed as %s: %s", how, " ".join(stream_ids))
        return _done(sealed, await self._log.many.seal(endings))

    async def _requeue(self, lost: Mapping[str, State], now_ms: int) -> dict[str, int]:
        running = {each: state.epoch for each, state in lost.items() if state.status == "running"}
        if running:
            logger.warning("queued again, having lost their worker: %s", " ".join(running))
        released = _done(running, await self._log.many.release([*running.items()]))
        queued = {each: state.epoch for each, state in lost.items() if each in released or each not in running}
        if queued:
            await self._slips.write_many(queued)
        return dict.fromkeys(queued, now_ms + look_again_ms(self._settings))

    async def _shorten(self, leased: Mapping[str, State], now_ms: int) -> dict[str, int]:
        if leased:
            logger.warning("%d leases were taken before the clock of Redis was set back; shortened", len(leased))
        answers = await self._log.many.shorten([(each, state.epoch) for each, state in leased.items()])
        return {each: now_ms + leased[each].lease_ms + 1 for each in _done(leased, answers)}


def clock_of(settings: Settings) -> ServerClock:
    """Return a new view of the server's clock, for all of one process."""
    return ServerClock(settings.lease_ms * CLOCK_TOLERANCE_LEASES)


def _done(asked: Mapping[str, object], answers: list[LogError | None]) -> list[str]:
    """Return those of the streams to which it was done."""
    done = []
    for stream_id, error in zip(asked, answers, strict=True):
        if error is None:
            done.append(stream_id)
        elif not isinstance(error, _Came):
            logger.warning("reaper: %s: %s", stream_id, error)
    return done
