"""Looks after every stream that has not ended, in every broker and every worker, without a leader.

Streams whose producer was lost are sealed, or given back to the queue, within a lease and a second. Queued streams
whose slip was lost are queued again (PROTOCOL: Recovery/Reaper). Brokers run a reaper too, so that readers are sent an
end when no worker is left alive.
"""

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from typing import Final

from midstream import counters
from midstream.lifecycle.ending import end_entry
from midstream.lifecycle.lost_slips import LostSlips
from midstream.lifecycle.server_clock import ServerClock
from midstream.lifecycle.slips import Slips
from midstream.lifecycle.spending import NOTHING_SPENT, spendings
from midstream.lifecycle.thread_turns import let_start
from midstream.lifecycle.verdict import LetStart, Requeue, Seal, Shorten, Verdict, Wait, judge, look_again_ms
from midstream.log.entries import encode
from midstream.log.errors import (
    LeaseHeld,
    LogError,
    LogUnavailable,
    NewerFormat,
    StaleEpoch,
    StreamAbsent,
    StreamSealed,
    TailMismatch,
)
from midstream.log.forever import forever
from midstream.log.log import Log
from midstream.log.many import Errors
from midstream.log.registry import Registry
from midstream.log.state import NOTHING_LEFT, Left, State
from midstream.log.values import Ending
from midstream.settings import Settings
from midstream.traces.tracing import NO_TRACES, Tracing

logger = logging.getLogger(__name__)

SHORTEST_REST_S: Final = 0.2
"""The rest between two questions for what is due."""
LONGEST_REST_S: Final = 1.25
"""The rest while nothing is due. A stream that is created meanwhile is not due before the rest is over, and none is
handed to another reaper, which might die, before it is due."""
AGAIN_MS: Final = 400
"""A stream that one reaper was handed is handed to another after this long, should the first have died."""
PAGE: Final = 250
LANES: Final = 4
"""How many pages are looked at side by side, where there is more than one."""
FURTHEST_MS: Final = 10_000
"""No look is set further ahead than this, or than two leases."""
SILENCE_LEASES: Final = 1 / 2
"""After a silence of the log that was shorter than this, every owner that lives still has time to renew.

Its last renewal may have been a third of a lease before the silence. The sixth that is left is the time-out of the
renewal that the silence broke, after which the owner renews on another connection.
"""
CLOCK_TOLERANCE_LEASES: Final = 1 / 6

_OVERTAKEN: Final = (LeaseHeld, StaleEpoch, TailMismatch, StreamSealed, StreamAbsent)
"""The stream's owner came back, or another reaper was quicker; the stream is still watched, and looked at again."""


class Reaper:
    """One process' part in looking after the streams.

    Args:
        clock: The process' view of the server's clock, where it is shared; see `clock_of`.
        tracing: The process' traces.
    """

    def __init__(
        self,
        log: Log,
        registry: Registry,
        slips: Slips,
        settings: Settings,
        clock: ServerClock | None = None,
        tracing: Tracing = NO_TRACES,
    ) -> None:
        self._log = log
        self._registry = registry
        self._lost_slips = LostSlips(slips, registry)
        self._settings = settings
        self._clock = clock or clock_of(settings)
        self._tracing = tracing
        self._lease_s = settings.lease_ms / 1000
        self._furthest_ms = max(FURTHEST_MS, 2 * settings.lease_ms)
        self._longest_rest_s = max(SHORTEST_REST_S, min(LONGEST_REST_S, look_again_ms(settings) / 4_000))
        self._rest_s = SHORTEST_REST_S
        self._task: asyncio.Task[None] | None = None
        self._answered_s = 0.0
        self._has_left_newer = False
        self._patient_until_s = 0.0
        """Until then no running stream is judged: its owner may be about to renew."""

    def start(self) -> None:
        """Look after streams until `stop`."""
        self._lost_slips.start()
        self._task = asyncio.create_task(forever("reaper", self._run), name="reaper")

    async def stop(self) -> None:
        """Stop; what was being looked at is handed to another reaper."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._lost_slips.stop()

    async def _run(self) -> None:
        self._answered_s = time.monotonic()
        # The log may have been silent before this reaper began, so owners of older leases get time to renew.
        self._patient_until_s = self._answered_s + self._lease_s
        while True:
            # Jitter: reapers that started together drift apart.
            await asyncio.sleep(self._rest_s * random.uniform(0.75, 1.25))  # noqa: S311
            if await self._page():
                await asyncio.gather(*(self._lane() for _ in range(LANES)))

    async def _lane(self) -> None:
        while await self._page():
            pass

    async def _page(self) -> bool:
        """Look at a page of the streams that are due; return whether there may be more."""
        self._rest_s = SHORTEST_REST_S
        try:
            sent_s = time.monotonic()
            due = await self._registry.due(AGAIN_MS, PAGE, self._furthest_ms)
            if due.is_whole:
                self._note_answer(due.now_ms, sent_s)
            self._rest_s = min(max((due.next_ms - due.now_ms) / 1_000, SHORTEST_REST_S), self._longest_rest_s)
            await self._look(due.looks_ms, due.now_ms)
        except LogUnavailable as error:
            logger.warning("reaper: %s", error)
        except Exception:
            logger.exception("reaper: a look failed and will be repeated")
        else:
            return due.is_full
        return False

    def _note_answer(self, now_ms: int, sent_s: float) -> None:
        """Note that the log has answered; be patient for a lease if it was silent for long, or its clock was set."""
        now_s = time.monotonic()
        set_ms = self._clock.hear(now_ms, sent_s, now_s)
        silent_s, self._answered_s = now_s - self._answered_s, now_s
        if set_ms:
            logger.warning("reaper: the clock of Redis was set by %.1f s; waiting a lease", set_ms / 1000)
        elif silent_s > self._lease_s * SILENCE_LEASES:
            logger.warning("reaper: no answer of the log for %.1f s; waiting a lease before anybody is lost", silent_s)
        else:
            return
        self._patient_until_s = now_s + self._lease_s

    async def _look(self, due_ms: Mapping[str, int], now_ms: int) -> None:
        """Look at streams that were due at these times, and do what their verdicts say; `now_ms` is the server's."""
        if not due_ms:
            return
        over: dict[str, Left] = {}
        judged: dict[type[Verdict], dict[str, tuple[State, Verdict]]] = {}
        patient = time.monotonic() < self._patient_until_s
        for stream_id, state in zip(due_ms, await self._log.many.states([*due_ms]), strict=True):
            if isinstance(state, LogError):
                self._leave(stream_id, state)
            elif state is None or state.ended:
                over[stream_id] = NOTHING_LEFT if state is None else state.left
            elif state.status == "running" and patient:
                pass  # it is handed out again after `AGAIN_MS`
            else:
                verdict = self._judge(state, due_ms[stream_id], now_ms)
                judged.setdefault(type(verdict), {})[stream_id] = state, verdict
        looks_ms = await self._act(judged, now_ms)
        # A worker whose setting is longer holds longer leases. A look beyond the furthest would be due at once again.
        furthest_ms = now_ms + self._furthest_ms
        await self._registry.watch_again({each: min(look_ms, furthest_ms) for each, look_ms in looks_ms.items()})
        await self._registry.unwatch(over)

    async def _act(
        self, judged: Mapping[type[Verdict], Mapping[str, tuple[State, Verdict]]], now_ms: int
    ) -> dict[str, int]:
        """Do what verdicts say; return when to look at streams again."""

        def states(kind: type[Verdict]) -> dict[str, State]:
            return {stream_id: state for stream_id, (state, _) in judged.get(kind, {}).items()}

        rows = [(stream_id, *row) for each in judged.values() for stream_id, row in each.items()]
        looks_ms = {stream_id: now_ms + verdict.delay_ms for stream_id, _, verdict in rows if isinstance(verdict, Wait)}
        await self._seal({each: (state, verdict) for each, state, verdict in rows if isinstance(verdict, Seal)}, now_ms)
        to_queue = states(Requeue)
        if to_start := states(LetStart):
            may_run, waits_on = await let_start(self._log, to_start, self._settings.prices)
            to_queue |= {stream_id: to_start[stream_id] for stream_id in may_run}
            looks_ms |= dict.fromkeys(waits_on, now_ms + look_again_ms(self._settings))
        await self._requeue(to_queue, now_ms)
        return looks_ms | await self._shorten(states(Shorten), now_ms)

    def _judge(self, state: State, due_ms: int, now_ms: int) -> Verdict:
        # Where a lease ran out long ago, or a look was due long ago, no reaper and no worker was there.
        since_ms = state.lease_until_ms if state.status == "running" else due_ms
        return judge(
            state,
            now_ms,
            self._settings,
            queued_for_ms=self._clock.age_ms(state.queued_ms, now_ms),
            unwatched_ms=self._clock.age_ms(since_ms, now_ms),
        )

    def _leave(self, stream_id: str, error: LogError) -> None:
        """Leave a stream that this process cannot read, so that it keeps no other one waiting; it is handed out again.

        It may be a key of somebody else's. One of a newer format is left to the processes that know it, which is said
        once (PROTOCOL: State/Format).
        """
        level = logging.DEBUG if self._has_left_newer and isinstance(error, NewerFormat) else logging.WARNING
        self._has_left_newer |= isinstance(error, NewerFormat)
        logger.log(level, "reaper: %s: %s", stream_id, error, extra={"stream": stream_id})

    async def _seal(self, to_seal: Mapping[str, tuple[State, Seal]], now_ms: int) -> None:
        endings: dict[str, tuple[State, Ending]] = {}
        ids_by_cause: dict[str, list[str]] = {}
        prices = self._settings.prices
        spent = await spendings(self._log, {each: state for each, (state, _) in to_seal.items()}, prices)
        for stream_id, (state, seal) in to_seal.items():
            cost = spent.get(stream_id, NOTHING_SPENT).cost(state.model, prices)
            error = {"code": seal.code, "message": seal.message} if seal.code else None
            end = end_entry(seal.outcome, state=state, now_ms=now_ms, error=error, cost=cost)
            endings[stream_id] = state, Ending([encode(end)], seal.outcome)
            ids_by_cause.setdefault(f"{seal.outcome} ({seal.code or 'asked for'})", []).append(stream_id)
        for cause, stream_ids in ids_by_cause.items():  # a line for each of thousands takes longer than sealing them
            logger.warning("sealed as %s: %s", cause, " ".join(stream_ids))
        sealed = _done(await self._log.many.seal(endings))
        self._lost_slips.remove({stream_id: to_seal[stream_id][0].epoch for stream_id in sealed})
        for stream_id in sealed:
            state, seal = to_seal[stream_id]
            verdict = seal.code or seal.outcome
            counters.count("reaper_verdicts", verdict)
            counters.count("ends", seal.outcome, seal.code)
            self._tracing.reaped(stream_id, state, now_ms, verdict, seal.outcome)

    async def _requeue(self, to_queue: Mapping[str, State], now_ms: int) -> None:
        """Queue streams; their slips are written, and their next looks planned, beside this."""
        running = {stream_id: state.epoch for stream_id, state in to_queue.items() if state.status == "running"}
        if running:
            logger.warning("queued again, having lost their worker: %s", " ".join(running))
        released = _done(await self._log.many.release(running))
        counters.count("reaper_verdicts", "requeued", by=len(released))
        for stream_id in released:
            self._tracing.reaped(stream_id, to_queue[stream_id], now_ms, "requeued")
        kept = running.keys() - released
        queued = {stream_id: state.epoch for stream_id, state in to_queue.items() if stream_id not in kept}
        self._lost_slips.put(queued, now_ms + look_again_ms(self._settings))

    async def _shorten(self, to_shorten: Mapping[str, State], now_ms: int) -> dict[str, int]:
        """Shorten leases; return when to look at each stream again."""
        if to_shorten:
            logger.warning("%d leases were taken before the clock of Redis was set back; shortened", len(to_shorten))
        errors = await self._log.many.shorten({stream_id: state.epoch for stream_id, state in to_shorten.items()})
        shortened = _done(errors)
        counters.count("reaper_verdicts", "shortened", by=len(shortened))
        return {stream_id: now_ms + to_shorten[stream_id].lease_ms + 1 for stream_id in shortened}


def clock_of(settings: Settings) -> ServerClock:
    """Return a new view of the server's clock, for all of one process."""
    return ServerClock(settings.lease_ms * CLOCK_TOLERANCE_LEASES)


def _done(errors: Errors) -> list[str]:
    """Return the streams to which it was done; log why it was not done to others, unless they were overtaken."""
    for stream_id, error in errors.items():
        if error is not None and not isinstance(error, _OVERTAKEN):
            logger.warning("reaper: %s: %s", stream_id, error, extra={"stream": stream_id})
    return [stream_id for stream_id, error in errors.items() if error is None]
