"""Looks after every stream that has not ended, in every broker and every worker, with no leader.

Streams whose producer was lost are sealed or given back to the queue within a lease and a second; queued
streams whose slip got lost are queued again (PROTOCOL: Recovery). It runs in the brokers too, so that a
reader hears the truth when no worker is left alive.
"""

import asyncio
import logging
import random
import time
from dataclasses import dataclass
from typing import Final

from midstream.lifecycle.ending import end_entry
from midstream.lifecycle.slips import Slips
from midstream.log.entries import CANCELLED, FAILED, INTERRUPTED, encode
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
from midstream.log.log import Fence, Log
from midstream.log.registry import Registry
from midstream.log.state import State
from midstream.settings import Settings

logger = logging.getLogger(__name__)

TICK_S: Final = 0.2
AGAIN_MS: Final = 400
"""A stream that one reaper was handed is handed to another after this long, should the first have died."""
BATCH: Final = 100
SILENCE_LEASES: Final = 2 / 3
"""Owners renew every third of a lease, so a log that was silent for less than this has let no lease run out."""


@dataclass(frozen=True, slots=True)
class Seal:
    """End the stream."""

    outcome: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Requeue:
    """Let another attempt run."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do for `delay_ms`."""

    delay_ms: int


Verdict = Seal | Requeue | Wait


def judge(state: State, now_ms: int, settings: Settings) -> Verdict:
    """Decide what becomes of a stream that has not ended: the worker-loss policies as a table."""
    if state.status == "queued":
        if now_ms - state.queued_ms >= settings.queue_timeout_s * 1000:
            return Seal(FAILED, "queue_timeout", "no worker took the generation in time")
        return Requeue()
    if state.lease_until_ms > now_ms:
        return Wait(state.lease_until_ms - now_ms + 1)
    if state.cancel_ms:
        return Seal(CANCELLED, "", "")
    if state.epoch >= settings.max_attempts:
        return Seal(INTERRUPTED, "attempts_exhausted", f"{state.epoch} workers were lost")
    if not state.intent or state.policy in ("continue", "restart"):
        return Requeue()
    if state.policy == "reattach" and state.upstream_id:
        return Requeue()
    return Seal(INTERRUPTED, "worker_lost", "the worker was lost; the answer so far is kept")


class Reaper:
    """One process's share of the looking after."""

    def __init__(self, log: Log, registry: Registry, slips: Slips, settings: Settings) -> None:
        self._log = log
        self._registry = registry
        self._slips = slips
        self._settings = settings
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
        while True:
            # Jitter: reapers that started together drift apart.
            await asyncio.sleep(TICK_S * random.uniform(0.75, 1.25))  # noqa: S311
            try:
                now_ms, stream_ids = await self._registry.due(AGAIN_MS, BATCH)
                self._heard()
                for stream_id in stream_ids:
                    await self.look(stream_id, now_ms)
            except LogUnavailable as error:
                logger.warning("reaper: %s", error)
            except Exception:
                logger.exception("reaper: a look failed and will be repeated")

    def _heard(self) -> None:
        """The log has answered; where it was silent for long, its owners get a lease to be heard first."""
        now_s, lease_s = time.monotonic(), self._settings.lease_ms / 1000
        silent_s, self._answered_s = now_s - self._answered_s, now_s
        if silent_s > lease_s * SILENCE_LEASES:
            logger.warning("reaper: the log was silent for %.1f s; waiting a lease before anybody is lost", silent_s)
            self._patient_until_s = now_s + lease_s

    async def look(self, stream_id: str, now_ms: int) -> None:
        """Look at one stream that is due; `now_ms` is the server's time."""
        state = await self._log.state(stream_id)
        if state is None or state.ended:
            await self._registry.unwatch(stream_id)
            return
        if state.status == "running" and time.monotonic() < self._patient_until_s:
            return  # handed out again, to us or to another
        verdict = judge(state, now_ms, self._settings)
        try:
            match verdict:
                case Wait(delay_ms):
                    await self._registry.watch(stream_id, delay_ms)
                case Requeue():
                    await self._requeue(stream_id, state)
                case Seal():
                    await self._seal(stream_id, state, verdict, now_ms)
        except (LeaseHeld, StaleEpoch, TailMismatch, StreamSealed, StreamAbsent):
            return  # its owner came back, or another reaper was quicker; it is still watched, so look again
        except LogError as error:
            logger.warning("reaper: %s: %s", stream_id, error)

    async def _requeue(self, stream_id: str, state: State) -> None:
        if state.status == "running":
            logger.warning("stream %s lost its worker in epoch %d; queued again", stream_id, state.epoch)
            await self._log.release(stream_id, Fence(state.epoch, ""))
        await self._slips.write(stream_id, state.epoch)
        await self._registry.watch(stream_id, look_again_ms(self._settings))

    async def _seal(self, stream_id: str, state: State, verdict: Seal, now_ms: int) -> None:
        logger.warning("stream %s is sealed as %s (%s)", stream_id, verdict.outcome, verdict.code or "asked for")
        error = {"code": verdict.code, "message": verdict.message} if verdict.code else None
        end = encode(end_entry(verdict.outcome, state=state, now_ms=now_ms, error=error))
        fence = Fence(state.epoch, "")
        await self._log.seal(stream_id, fence, state.tail, [end], verdict.outcome, state.ttl_s)
        await self._registry.unwatch(stream_id)


def look_again_ms(settings: Settings) -> int:
    """Return when to look at a queued stream again.

    At most a lease: were it claimed in between and its worker lost at once, it is due when that lease runs out.
    """
    return min(settings.requeue_ms, settings.lease_ms)
