"""The terminal entry of an attempt, with what its source reported."""

from midstream.attempts.attempt import Attempt
from midstream.attempts.writer import Writer
from midstream.lifecycle.ending import end_entry
from midstream.lifecycle.verdict import Seal
from midstream.log.entries import Entry


def last_entry(attempt: Attempt, seal: Seal, writer: Writer | None = None) -> Entry:
    """Return the entry that ends the stream; without a writer it holds nothing of the source."""
    return end_entry(
        seal.outcome,
        state=attempt.state,
        now_ms=attempt.now_ms,
        finish_reason=writer.finish if writer else None,
        error={"code": seal.code, "message": seal.message} if seal.code else None,
        usage=writer.usage if writer else None,
        first_ms=writer.first_ms if writer else None,
    )
