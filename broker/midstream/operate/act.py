"""What an operator orders, and why an order may be refused (PROTOCOL: Operate/Acts)."""

from dataclasses import dataclass
from enum import StrEnum

from midstream.log.state import State


class ActName(StrEnum):
    """The acts."""

    CANCEL = "cancel"
    DELETE = "delete"
    REQUEUE = "requeue"
    SEAL = "seal"
    TRIM = "trim"
    RETAIN = "retain"


@dataclass(frozen=True, slots=True)
class Act:
    """One order, for any number of streams.

    Attributes:
        name: What to do.
        reason: Of `seal`: why, for the stream's clients.
        pay_again: Of `requeue`: whether a second paid call may be made.
        first_offset: Of `trim`: the first entry to keep; None: the end alone is kept.
        ttl_s: Of `retain`: how long the stream is kept after its end.
    """

    name: ActName
    reason: str = ""
    pay_again: bool = False
    first_offset: int | None = None
    ttl_s: int = 0


@dataclass(frozen=True, slots=True)
class Done:
    """What an act has led to.

    Attributes:
        stream_id: The stream that goes on: another one than the act was for where a requeue began one.
        state: Its state after the act; None: it was deleted.
        is_new: Whether a requeue began it.
    """

    stream_id: str
    state: State | None
    is_new: bool = False


class ActRefusedError(Exception):
    """A stream is not as the act needs it.

    Attributes:
        code: `stream_running`, `stream_ended`, `stream_not_ended`, `stream_busy`, `would_pay_again`,
            `external_producer` or `count_changed`.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class CountChangedError(ActRefusedError):
    """More streams fit than the operator expects; `count` is how many."""

    def __init__(self, count: int, expect: int) -> None:
        super().__init__("count_changed", f"{count} streams fit, and {expect} were expected: look again.")
        self.count = count
