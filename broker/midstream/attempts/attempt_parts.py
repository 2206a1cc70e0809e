"""What all attempts of one process write with."""

from dataclasses import dataclass

from midstream.attempts.write_delays import WriteDelays
from midstream.log.fsync import Fsync
from midstream.log.log import Log
from midstream.settings import Settings


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
    log: Log
    claims: Log
    fsync: Fsync
    write_delays: WriteDelays
