"""A stream's state as it stands in its hash."""

from dataclasses import dataclass, fields
from typing import Any, Final, Literal, Self

from midstream.log.errors import LogError, LogUnavailable, NewerFormat

FIRST_FORMAT: Final = 1
"""The format of a stream whose state names none (PROTOCOL: State/Format)."""
FORMAT: Final = 1
"""The format in which streams are created here. Older ones are known too, and newer ones are left alone.

Who raises it raises the number in `lua/shared/newer.lua` as well.
"""
EXTERNAL: Final = "external"
"""The policy of a stream whose producer is no worker: it is never queued, and never run again."""
Status = Literal["queued", "running", "ended"]


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of a stream that has ended (PROTOCOL: Limits/Stored).

    Attributes:
        stored_bytes: What its tenant has stored by it; below 0 for one that was deleted: the tenant has less by that.
        ended_ms: When it ended, by the server's clock.
        ttl_s: How long it is kept after its end.
    """

    stored_bytes: int
    ended_ms: int
    ttl_s: int


NOTHING_LEFT: Final = Left(0, 0, 0)


@dataclass(frozen=True, slots=True)
class State:
    """The state of one stream; times are milliseconds of the server's clock, 0: not reached yet."""

    tenant: str = ""
    user: str = ""
    """The user of the tenant whose it is; empty: none is named."""
    status: Status = "queued"
    epoch: int = 0
    owner: str = ""
    tail: int = 0
    tail_ms: int = -1
    """When the last append was, in ms after `created_ms`; -1: unknown."""
    log_bytes: int = 0
    """What the log took when it was claimed last."""
    stored_bytes: int = 0
    """What log and state take since the end."""
    first: int = 1
    """The first offset that is still kept."""
    model: str = ""
    policy: str = "interrupt"
    thread: str = ""
    metadata: str = "{}"
    ttl_s: int = 0
    created_ms: int = 0
    queued_ms: int = 0
    started_ms: int = 0
    ended_ms: int = 0
    lease_until_ms: int = 0
    lease_ms: int = 0
    """How long the lease lasts from each renewal on, as of the last claim."""
    intent: int = 0
    """The last epoch that noted that it is about to make a paid call; 0: none did, or its call was refused unbilled."""
    paid: int = 0
    """How many paid calls were begun."""
    generation_timeout_ms: int = 0
    """How long its producer may take, as its start asked for; 0: as long as the settings say."""
    upstream_id: str = ""
    upstream_cursor: int = -1
    """The provider's own position after the last logged entry; -1: unknown."""
    cancel_ms: int = 0
    waits: str = ""
    """It waits for the streams before it in its thread to end: `queue`, or `cancel`, which cancels them; empty: no."""
    outcome: str = ""
    code: str = ""
    """The code of the failure that ended it (PROTOCOL: Errors/Failures); empty: none, or an older version's end."""
    trace: str = ""
    """The trace that every process goes on with, as a `traceparent`; empty: there is none."""
    format: int = FIRST_FORMAT
    """The format of the stream, at most `FORMAT`."""

    @property
    def left(self) -> "Left":
        """What is left of the stream, which has ended."""
        return Left(self.stored_bytes, self.ended_ms, self.ttl_s)

    @property
    def ended(self) -> bool:
        """Whether the terminal entry is written."""
        return self.status == "ended"

    @property
    def last_entry_ms(self) -> int | None:
        """When the last append was; None: there was none, or an older version's."""
        return self.created_ms + self.tail_ms if self.tail_ms >= 0 else None

    @classmethod
    def parse(cls, values: list[bytes | None]) -> Self | None:
        """Return the state from its hash's values in the order of `FIELDS`; None where there is no stream.

        Raises:
            NewerFormat: Only a newer version knows its format.
            ValueError: No version has written this.
        """
        if values[_STATUS] in (None, b"deleted"):
            return None
        if (number := values[_FORMAT]) is not None and int(number) > FORMAT:
            raise NewerFormat(int(number), **{name: (values[at] or b"").decode() for name, at in _OWNERS.items()})
        present: dict[str, Any] = {
            name: int(value) if kind is int else value.decode()
            for (name, kind), value in zip(_KINDS, values, strict=True)
            if value is not None
        }
        return cls(**present)


def state_or_error(values: list[bytes | None]) -> State | LogError | None:
    """Return what `State.parse` returns, or the error of a state that cannot be read: others were asked for with it."""
    try:
        return State.parse(values)
    except NewerFormat as error:
        return error
    except ValueError:
        return LogUnavailable("a state holds what no version has written")


_KINDS: Final = tuple((f.name, int if f.type in (int, "int") else str) for f in fields(State))
FIELDS: Final = tuple(name for name, _ in _KINDS)
_STATUS: Final = FIELDS.index("status")
_FORMAT: Final = FIELDS.index("format")
_OWNERS: Final = {name: FIELDS.index(name) for name in ("tenant", "user", "thread")}


def format_fields(number: int = FORMAT) -> tuple[str | int, ...]:
    """Return the name and the value by which a new stream's state names its format; the first one is not named."""
    return ("format", number) if number > FIRST_FORMAT else ()
