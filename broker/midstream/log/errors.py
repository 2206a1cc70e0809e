"""The log's errors, each with its facts."""


class LogError(Exception):
    """Base of everything that the log raises."""


class StreamAbsent(LogError):
    """There is no such stream: never created, deleted or expired."""

    def __init__(self, stream_id: str) -> None:
        super().__init__(f"stream {stream_id} does not exist")
        self.stream_id = stream_id


class ThreadAbsent(LogError):
    """There is no such thread: none of its streams is there."""

    def __init__(self, thread: str) -> None:
        super().__init__("the thread does not exist")
        self.thread = thread


class LogTrimmed(LogError):
    """Entries that were asked for are gone; `first_offset` is that of the first entry that is left."""

    def __init__(self, first_offset: int) -> None:
        super().__init__(f"the entries before offset {first_offset} are gone")
        self.first_offset = first_offset


class StreamSealed(LogError):
    """The stream has ended and refuses every write.

    Attributes:
        outcome: How it ended.
        epoch: The epoch of the last attempt.
        owner: The owner of the last attempt. By it a producer knows its own seal again, if the answer was lost.
    """

    def __init__(self, outcome: str, epoch: int, owner: str) -> None:
        super().__init__(f"the stream has ended: {outcome}")
        self.outcome = outcome
        self.epoch = epoch
        self.owner = owner


class StaleEpoch(LogError):
    """The caller's attempt does not hold the stream, or not any more; `current` is the stream's epoch."""

    def __init__(self, current: int) -> None:
        super().__init__(f"fenced: the stream's epoch is {current}")
        self.current = current


class TailMismatch(LogError):
    """The stream's tail is not the one that the producer expected."""

    def __init__(self, expected: int, actual: int) -> None:
        super().__init__(f"expected the tail at {expected}, it is at {actual}")
        self.expected = expected
        self.actual = actual


class LeaseHeld(LogError):
    """The owner's lease has not run out, so a reaper may not act; `until_ms` is of the server's clock."""

    def __init__(self, until_ms: int) -> None:
        super().__init__(f"the lease is held until {until_ms}")
        self.until_ms = until_ms


class IdempotencyMismatch(LogError):
    """The idempotency key was used before with another body."""


class StreamDeleted(LogError):
    """The stream of the idempotency key was deleted, and its tombstone still stands."""


class ThreadActive(LogError):
    """A stream of the thread has not ended, and nothing was created.

    Attributes:
        stream_id: The id of the one that was started first.
    """

    def __init__(self, stream_id: str) -> None:
        super().__init__(f"stream {stream_id} of this thread has not ended")
        self.stream_id = stream_id


class ThreadFull(LogError):
    """As many streams wait in the thread as may, and nothing was created."""


class LogUnavailable(LogError):
    """Redis did not answer, or refuses for now. If it did not answer, the command may have taken effect or not.

    Attributes:
        code: The code of the refusal, e.g. `READONLY`; empty if Redis did not answer.
    """

    def __init__(self, detail: str, code: str = "") -> None:
        super().__init__(f"{code}: {detail}" if code else detail)
        self.code = code


class UnfitServer(LogError):
    """The server can hold no log, now or later; the text says what to change."""


class NewerFormat(LogUnavailable):
    """A newer version has written the stream in a format that this process does not know (PROTOCOL: State/Format).

    To try again helps, because another process may know it. The attributes say whose stream it is, as far as it is
    known: what the credential does not open is absent to it, whatever its format.
    """

    def __init__(self, number: int, *, tenant: str = "", user: str = "", thread: str = "") -> None:
        super().__init__(f"the stream has format {number}, which this version does not know", "newer_format")
        self.tenant = tenant
        self.user = user
        self.thread = thread


class LogFull(LogUnavailable):
    """Redis is out of memory and refused the write; nothing was written."""
