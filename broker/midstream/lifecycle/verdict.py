"""What becomes of a stream that has not ended: the worker-loss policies as a table (PROTOCOL: Recovery/Verdict)."""

from dataclasses import dataclass
from typing import Final

from midstream.log.entries import CANCELLED, FAILED, INTERRUPTED
from midstream.log.state import EXTERNAL, State
from midstream.settings import Settings

ROOM_MS: Final = 1_000
"""A lease that ends so much later than a lease from now was taken before the server's clock was set back."""
OUTDATED: Final = "outdated"


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
class LetStart:
    """Let it start if all streams before it in its thread have ended, and otherwise wait (PROTOCOL: Threads/Active)."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do for `delay_ms`."""

    delay_ms: int


@dataclass(frozen=True, slots=True)
class Shorten:
    """Let the lease end in its usual time: the server's clock was set back since it was renewed."""


PRODUCER_LOST: Final = Seal(INTERRUPTED, "producer_lost", "the producer was lost; the answer so far is kept")

Verdict = Seal | Requeue | LetStart | Wait | Shorten


def judge(
    state: State, now_ms: int, settings: Settings, *, queued_for_ms: int | None = None, unwatched_ms: int = 0
) -> Verdict:
    """Decide what becomes of a stream that has not ended.

    Args:
        state: The state of the stream.
        now_ms: The server's time.
        settings: The settings of this deployment.
        queued_for_ms: How long it has been queued; None: by the server's clock.
        unwatched_ms: How long ago its lease ran out or a reaper's look at it was due, if no process was there then.
    """
    if state.status == "queued":
        waited_ms = now_ms - state.queued_ms if queued_for_ms is None else queued_for_ms
        return _judge_queued(state, settings, waited_ms, unwatched_ms)
    if state.lease_ms and state.lease_until_ms > now_ms + state.lease_ms + ROOM_MS:
        return Shorten()
    if state.lease_until_ms > now_ms:
        return Wait(state.lease_until_ms - now_ms + 1)
    if state.cancel_ms:
        return Seal(CANCELLED, "", "")
    if state.policy == EXTERNAL:
        return PRODUCER_LOST
    if state.epoch >= settings.max_attempts:
        return Seal(INTERRUPTED, "attempts_exhausted", f"{state.epoch} attempts were made")
    nothing_was_paid = not state.intent
    may_pay_again = state.policy in ("continue", "restart")
    can_read_on = state.policy == "reattach" and bool(state.upstream_id)
    if nothing_was_paid or may_pay_again or can_read_on:
        if is_outdated(unwatched_ms, settings):
            return Seal(INTERRUPTED, OUTDATED, outdated_message(unwatched_ms))
        return Requeue()
    return Seal(INTERRUPTED, "worker_lost", "the worker was lost; the answer so far is kept")


def _judge_queued(state: State, settings: Settings, waited_ms: int, unwatched_ms: int) -> Verdict:
    if state.policy == EXTERNAL:  # its producer claims it right after it was created
        return PRODUCER_LOST if waited_ms >= settings.lease_ms else Wait(settings.lease_ms - waited_ms)
    if is_outdated(unwatched_ms, settings):
        return Seal(INTERRUPTED, OUTDATED, outdated_message(unwatched_ms))
    if state.waits:
        is_late = waited_ms >= settings.longest_life_s * 1000
        return (
            Seal(FAILED, "queue_timeout", "what is before it in its thread did not end in time")
            if is_late
            else LetStart()
        )
    if waited_ms >= settings.queue_timeout_s * 1000:
        return Seal(FAILED, "queue_timeout", "no worker took the generation in time")
    return Requeue()


def is_outdated(unwatched_ms: int, settings: Settings) -> bool:
    """Tell whether a stream was left alone for so long that its log may be an old copy, so that it is not run again."""
    return unwatched_ms > settings.outdated_after_s * 1000


def outdated_message(unwatched_ms: int) -> str:
    """Return why an outdated stream ends, for people."""
    return (
        f"nothing had looked after the stream for {unwatched_ms / 1000:.0f} s: a restored log, or a long outage; "
        "it was not run again"
    )


def look_again_ms(settings: Settings) -> int:
    """Return after how many ms to look at a queued stream again.

    That is at most a lease: if the stream is claimed in between and its worker lost at once, the look is due when that
    lease has run out.
    """
    return min(settings.requeue_ms, settings.lease_ms)
