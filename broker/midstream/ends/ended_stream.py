"""A stream that has ended, as webhooks and the hook are told of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from midstream.log.answer import Answer
from midstream.log.entries import decode
from midstream.log.keys import id_of, tenant_of
from midstream.log.log import Log
from midstream.log.reading import read_entries


@dataclass(frozen=True, slots=True)
class EndedStream:
    """What a stream was, and how it ended. Times are ms of the server's clock.

    Attributes:
        id: The stream's id. It is the same however often an end is delivered: use it as the key of what you write.
        tenant: Whose it is.
        user: The user of the tenant whose it is; empty: none is named.
        thread: The conversation it belongs to; empty: none.
        metadata: What the client sent with the start.
        model: What generated it: `provider/name`.
        outcome: `completed`, `failed`, `cancelled` or `interrupted`.
        code: Why it failed or was interrupted (PROTOCOL: Errors/Failures); empty: it did not, or was not.
        finish_reason: Why the model stopped, where it has said so.
        usage: The tokens that were used, where the provider has told.
        cost: The `amount` and `currency` of its calls, where it is known (PROTOCOL: Money/Cost).
        timings: `queued_ms`, `first_delta_ms` and `total_ms`.
        answer: What it has answered; None: the log is gone, or its beginning was trimmed.
    """

    id: str
    tenant: str
    user: str
    thread: str
    metadata: Mapping[str, Any]
    model: str
    outcome: str
    code: str
    finish_reason: str | None
    usage: Mapping[str, Any] | None
    cost: Mapping[str, Any] | None
    timings: Mapping[str, Any]
    created_ms: int
    ended_ms: int
    answer: Answer | None = field(default=None, repr=False)


def ended_stream(name: str, facts: Mapping[str, bytes], answer: Answer | None = None) -> EndedStream:
    """Return a stream of what the outbox noted of it.

    Raises:
        ValueError, KeyError: These are no such facts.
    """
    end = decode(facts["end"], 0, 0).data if facts["end"] else {}
    return EndedStream(
        id=id_of(name),
        tenant=tenant_of(name),
        user=facts["user"].decode(),
        thread=facts["thread"].decode(),
        metadata=orjson.loads(facts["metadata"]),
        model=facts["model"].decode(),
        outcome=facts["outcome"].decode(),
        code=(end.get("error") or {}).get("code") or "",
        finish_reason=end.get("finish_reason"),
        usage=end.get("usage"),
        cost=end.get("cost"),
        timings=end.get("timings") or {},
        created_ms=int(facts["created_ms"]),
        ended_ms=int(facts["ended_ms"]),
        answer=answer,
    )


async def whole_answer(log: Log, name: str) -> Answer | None:
    """Return what a stream has answered; None where its log is not there from the first entry to the last.

    Raises:
        LogUnavailable: Redis did not answer.
    """
    answer, next_offset = Answer(), 1
    async for entry in read_entries(log, name):
        if entry.offset != next_offset:
            return None
        next_offset += 1
        answer.add(entry)
    return answer if answer.end is not None else None
