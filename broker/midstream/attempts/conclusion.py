"""How a generation ends, as a table: why it was stopped, what its upstream call allows, and what its source raised.

This is pure, as `midstream.lifecycle.verdict` is for streams whose worker was lost (PROTOCOL: Seal/Always).
"""

from asyncio import CancelledError
from dataclasses import dataclass
from enum import Enum, auto

from midstream.attempts.delta import SourceError
from midstream.attempts.steps import STEP_UNKNOWN
from midstream.lifecycle.verdict import OUTDATED, PRODUCER_LOST, Seal
from midstream.log.entries import CANCELLED, COMPLETED, FAILED, INTERRUPTED
from midstream.log.errors import LogFull, StaleEpoch, StreamAbsent, StreamSealed


class Stop(Enum):
    """Why a generation is stopped before its source has ended; the first reason counts."""

    CANCELLED = auto()
    """A client asked for it."""
    LOST = auto()
    """The stream is no longer ours: another attempt claimed it, or it was sealed or deleted."""
    DRAINED = auto()
    """The worker shuts down."""
    FULL = auto()
    """The server stays out of memory."""
    BROKEN = auto()
    """The writer failed for a reason that nothing else here covers."""


class Call(Enum):
    """What another worker could do about the upstream call."""

    NOT_MADE = auto()
    """No call was made, so another worker can make the first one."""
    RESUMABLE = auto()
    """Another worker can go on reading the same call."""
    NOT_RESUMABLE = auto()
    """The call ends with this process, and a second one would be paid again."""


@dataclass(frozen=True, slots=True)
class Release:
    """Give the stream back to the queue, for another worker to go on with."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Write nothing; raise the cause, if there is one."""

    cause: BaseException | None = None


Conclusion = Seal | Release | Leave


def stop_of(error: BaseException) -> Stop:
    """Return why a generation stops whose writer has failed with this error."""
    match error:
        case LogFull():
            return Stop.FULL
        case StaleEpoch() | StreamSealed() | StreamAbsent():
            return Stop.LOST
    return Stop.BROKEN


LOG_FULL = Seal(FAILED, "log_full", "The server is out of memory; the answer so far is kept.")
INTERRUPTING = ("worker_lost", PRODUCER_LOST.code, OUTDATED, STEP_UNKNOWN)
"""Codes of what interrupts a stream and is no failure of it."""
INTERNAL = Seal(FAILED, "internal", "Something went wrong in the worker; it was logged.")


def conclude(
    stop: Stop | None, call: Call, failure: BaseException | None, *, generation_timeout_s: float
) -> Conclusion:
    """Decide how a generation ends.

    Args:
        stop: Why it was stopped; None: it was not.
        call: What another worker could do about its upstream call.
        failure: What the writer raised, where the stop is `BROKEN`; otherwise what the source raised. None: the
            source has ended as it should. `CancelledError`: it was stopped, or it does not let itself be stopped.
        generation_timeout_s: The limit that a `TimeoutError` exceeded.
    """
    match stop, call:
        case Stop.CANCELLED, _:
            return Seal(CANCELLED, "", "")
        case Stop.LOST, _:
            return Leave()
        case Stop.BROKEN, _:
            return Leave(failure)
        case Stop.FULL, _:
            return LOG_FULL
        case Stop.DRAINED, Call.NOT_MADE | Call.RESUMABLE:
            return Release()
    return _by_failure(failure, generation_timeout_s)


def _by_failure(failure: BaseException | None, generation_timeout_s: float) -> Conclusion:
    match failure:
        case None:
            return Seal(COMPLETED, "", "")
        case CancelledError():
            return Seal(INTERRUPTED, "worker_lost", "The worker was stopped; the answer so far is kept.")
        case StaleEpoch() | StreamSealed() | StreamAbsent():
            return Leave(failure)
        case LogFull():
            return LOG_FULL
        case SourceError(code=code, message=message):
            return Seal(INTERRUPTED if code in INTERRUPTING else FAILED, code, message)
        case TimeoutError():
            return Seal(FAILED, "generation_timeout", f"It took longer than {generation_timeout_s:g} s.")
    return INTERNAL
