"""By which stream a producer's key is produced next, and which steps it has done (PROTOCOL: Produce/Taken up)."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from midstream.access.grant import Grant
from midstream.access.ids import derived_id
from midstream.log.entries import END, INTERRUPTED, STEP, Entry, Json, decode
from midstream.log.errors import IdempotencyMismatch, LogTrimmed, StreamDeleted
from midstream.log.keys import stream_name
from midstream.log.log import Log
from midstream.log.reading import read_entries
from midstream.requests.request import GenerationRequest
from midstream.service.producer_refusal import ProducerRefusedError

EARLIER_GONE: Final = "An earlier stream of this key is gone, and nobody knows which steps it has done."


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key is produced.

    Attributes:
        stream_id: The stream that is to be started, or that another producer has.
        earlier: The names of the key's earlier streams, whose producers were lost.
    """

    stream_id: str
    earlier: Sequence[str] = ()


def taken_up_id(secret: bytes, owner: str, key: str, number: int) -> str:
    """Return the id of the stream by which an owner's key is produced for the time `number`."""
    return derived_id(secret, "key", owner, key) if number == 1 else derived_id(secret, f"key {number}", owner, key)


async def place_of(
    log: Log, secret: bytes, grant: Grant, key: str, request: GenerationRequest, *, most: int, take_up: bool
) -> Place:
    """Return where a key is to be produced; `most` is how many streams it may have.

    All of them are looked at, because the first stream may have expired while a later one is there.

    Raises:
        ProducerRefusedError: `attempts_exhausted`.
        IdempotencyMismatch: The stream that would be taken up was started with other fields.
        StreamDeleted: An earlier stream is gone, so nobody knows which steps were done.
        LogUnavailable: Redis did not answer.
    """
    ids = [taken_up_id(secret, grant.owner, key, number) for number in range(1, most + 1)]
    names = [stream_name(grant.tenant, each) for each in ids]
    states = await log.states(names)
    at = max((at for at, state in enumerate(states) if state is not None), default=0)
    last = states[at]
    if not take_up:
        return Place(ids[at])
    if last is not None and last.outcome == INTERRUPTED:
        if orjson.loads(await log.request(names[at])) != request.model_dump(mode="json", exclude_none=True):
            raise IdempotencyMismatch
        at += 1
    if at == most:
        detail = f"The key's {most} streams have all lost their producers (MIDSTREAM_MAX_ATTEMPTS)."
        raise ProducerRefusedError("attempts_exhausted", detail, id=ids[-1])
    if None in states[:at]:
        raise StreamDeleted(EARLIER_GONE)
    return Place(ids[at], names[:at])


async def earlier_entries(log: Log, names: Sequence[str]) -> AsyncIterator[Entry]:
    """Yield the entries of a key's earlier streams.

    Raises:
        StreamDeleted: One of them is gone, or a part of it.
        LogUnavailable: Redis did not answer.
    """
    for name in names:
        entry: Entry | None = None
        try:
            async for stored in read_entries(log, name):
                yield (entry := decode(stored.content, stored.offset, stored.epoch))
        except LogTrimmed:
            raise StreamDeleted(EARLIER_GONE) from None
        if entry is None or entry.type != END:
            raise StreamDeleted(EARLIER_GONE)


async def steps_of(log: Log, names: Sequence[str]) -> list[Json]:
    """Return the last entry of each step of a key's earlier streams; raises as `earlier_entries`."""
    steps = {str(entry.data["key"]): entry.data async for entry in earlier_entries(log, names) if entry.type == STEP}
    return list(steps.values())
