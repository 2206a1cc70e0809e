"""What all attempts of one process write with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from midstream.attempts.write_delays import WriteDelays
from midstream.log.state import State
from midstream.log.values import NO_NOTES, Claim, Ending, Fence, Notes
from midstream.settings import Settings


class AttemptLog(Protocol):
    """What an attempt needs of a log; see `midstream.log.log.Log`."""

    async def claim(self, stream_id: str, owner: str, lease_ms: int) -> Claim:
        """Take a queued stream."""
        ...

    async def append(
        self,
        stream_id: str,
        fence: Fence,
        tail: int,
        contents: Sequence[bytes],
        *,
        upstream_cursor: int | None = None,
        after_ms: int | None = None,
    ) -> int:
        """Append entries after offset `tail`."""
        ...

    async def seal(self, stream_id: str, fence: Fence, tail: int, ending: Ending) -> int:
        """Append the last entries and end the stream."""
        ...

    async def renew(self, stream_id: str, fence: Fence, lease_ms: int, notes: Notes = NO_NOTES) -> bool:
        """Renew the lease."""
        ...

    async def release(self, stream_id: str, fence: Fence) -> None:
        """Give the stream back to the queue."""
        ...

    async def state(self, stream_id: str) -> State | None:
        """Return the state."""
        ...

    async def request(self, stream_id: str) -> bytes:
        """Return the body that started the stream."""
        ...


class Disk(Protocol):
    """Tells when what was written is on disk; see `midstream.log.fsync.Fsync`."""

    async def wait(self) -> bool:
        """Return once that is so, or False."""
        ...


@dataclass(frozen=True, slots=True)
class AttemptParts:
    """The services that attempts are made with.

    Attributes:
        settings: The settings of this process.
        log: The log that attempts append to.
        claims: The same log over connections that appends do not use, so that busy appends delay no claim.
        fsync: Tells when what was written is on the server's disk.
        write_delays: Reports when writes have to wait for Redis.
    """

    settings: Settings
    log: AttemptLog
    claims: AttemptLog
    fsync: Disk
    write_delays: WriteDelays
