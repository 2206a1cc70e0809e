"""What the log refuses, each with its facts."""


class LogError(Exception):
    """Base of everything that the log raises."""


class StreamAbsent(LogError):
    """There is no such stream: never created, deleted or expired."""

    def __init__(self, stream_id: str) -> None:
        super().__init__(f"stream {stream_id} does not exist")
        self.stream_id = stream_id


class StreamSealed(LogError):
    """The stream has ended and refuses everything.

    Attributes:
        outcome: How it ended.
        epoch: The attempt that was the last one.
        owner: Who held it; tells a producer whether a seal of unknown effect was its own.
    """

    def __init__(self, outcome: str, epoch: int, owner: str) -> None:
        super().__init__(f"the stream has ended: {outcome}")
        self.outcome = outcome
        self.epoch = epoch
        self.owner = owner


class StaleEpoch(LogError):
    """Another attempt holds the stream, or none does any more; `current` is the stream's epoch."""

    def __init__(self, current: int) -> None:
        super().__init__(f"fenced: the stream's epoch is {current}")
        self.current = current


class TailMismatch(LogError):
    """The tail is not where the appender expected it."""

    def __init__(self, expected: int, actual: int) -> None:
        super().__init__(f"expected the tail at {expected}, it is at {actual}")
        self.expected = expected
        self.actual = actual


class LeaseHeld(LogError):
    """The lease has not run out, so nobody else may act; `until_ms` is the server's clock."""

    def __init__(self, until_ms: int) -> None:
        super().__init__(f"the lease is held until {until_ms}")
        self.until_ms = until_ms


class IdempotencyMismatch(LogError):
    """The idempotency key was used before with another body."""


class StreamDeleted(LogError):
    """The idempotency key's stream was deleted and its tombstone still stands."""


class LogUnavailable(LogError):
    """Redis did not answer, or refuses for now; where it did not answer, whether a command took effect is unknown.

    Attributes:
        code: What it refused with, e.g. `READONLY`; empty where it did not answer.
    """

    def __init__(self, detail: str, code: str = "") -> None:
        super().__init__(f"{code}: {detail}" if code else detail)
        self.code = code


class UnfitServer(LogError):
    """The server can hold no log, now or later; the text says what to change."""


class LogFull(LogUnavailable):
    """Redis is out of memory and refused the write; nothing was written."""
