"""The terminal entry of an attempt, with what its source reported."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from midstream.attempts.attempt import Attempt
from midstream.attempts.writer import Writer
from midstream.lifecycle.ending import end_entry
from midstream.lifecycle.spending import NOTHING_SPENT, Spending
from midstream.lifecycle.verdict import Seal
from midstream.log.entries import Entry


def last_entry(
    attempt: Attempt,
    seal: Seal,
    writer: Writer | None = None,
    spending: Spending = NOTHING_SPENT,
    fields: Mapping[str, Any] | None = None,
) -> Entry:
    """Return the entry that ends the stream; without a writer it holds nothing of the source.

    `spending` is what is known of calls that earlier attempts have made. `fields` are further ones of the entry.
    """
    if writer is not None and writer.usage is not None:
        spending = replace(spending, usage=writer.usage)
    end = end_entry(
        seal.outcome,
        state=attempt.state,
        now_ms=attempt.now_ms,
        finish_reason=writer.finish if writer else None,
        error={"code": seal.code, "message": seal.message} if seal.code else None,
        usage=writer.usage if writer else None,
        cost=spending.cost(attempt.state.model, attempt.prices),
        first_ms=writer.first_ms if writer else None,
    )
    return Entry(end.type, {**end.data, **fields}) if fields else end
