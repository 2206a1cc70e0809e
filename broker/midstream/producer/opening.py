"""How a producer in any process begins its stream: created, claimed and registered as every other one is."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from midstream.access.allowance import EVERYTHING, Allowances
from midstream.access.grant import Grant, Scope
from midstream.access.ids import derived_id
from midstream.attempts.attempt import Attempt
from midstream.lifecycle.verdict import look_again_ms
from midstream.log.entries import INTERRUPTED
from midstream.log.errors import (
    IdempotencyMismatch,
    LogError,
    LogFull,
    LogUnavailable,
    StaleEpoch,
    StreamDeleted,
    StreamSealed,
    UnfitServer,
)
from midstream.log.keys import new_id, stream_name
from midstream.log.owners import new_owner
from midstream.log.quotas import Excess
from midstream.log.values import NewStream
from midstream.producer.log_link import LogLink
from midstream.producer.produce_errors import ProduceError
from midstream.requests.request import GenerationRequest
from midstream.service.allowed_starts import start_of
from midstream.service.new_stream import new_stream_of
from midstream.service.start_limits import refusal_of

logger = logging.getLogger(__name__)

EARLIER_GONE: Final = "An earlier stream of this key is gone, and nobody knows which steps it has done."


@dataclass(frozen=True, slots=True)
class Opened:
    """A stream that was begun.

    Attributes:
        attempt: Appends to it.
        earlier: The names of the streams by which its key was produced before it was taken up.
    """

    attempt: Attempt
    earlier: Sequence[str] = ()


async def opened(
    link: LogLink, request: GenerationRequest, tenant: str, key: str | None, *, take_up: bool = False
) -> Opened:
    """Create the stream that a request asks for, and claim it (PROTOCOL: Produce/Once, Produce/Taken up).

    Raises:
        ProduceError: Nothing was started; its code says why.
    """
    grant = Grant(tenant, request.user, frozenset({Scope.SEND}))
    stream_id, earlier = new_id(), list[str]()
    try:
        if key is not None:
            stream_id, earlier = await _place_of(link, grant, key, link.settings.max_attempts if take_up else 1)
        return Opened(await _created_and_claimed(link, request, grant, stream_id), earlier)
    except LogError as error:
        refuse(error, stream_id)


def taken_up_id(secret: bytes, owner: str, key: str, number: int) -> str:
    """Return the id of the stream by which an owner's key is produced for the time `number`."""
    return derived_id(secret, "key", owner, key) if number == 1 else derived_id(secret, f"key {number}", owner, key)


async def _place_of(link: LogLink, grant: Grant, key: str, most: int) -> tuple[str, list[str]]:
    """Return the id of the stream that a key is to be produced by, and the names of those whose producers were lost.

    All ids are looked at, because the first stream may have expired while a later one is there.
    """
    secret = await link.secret()
    ids = [taken_up_id(secret, grant.owner, key, number) for number in range(1, most + 1)]
    if most == 1:
        return ids[0], []
    names = [stream_name(grant.tenant, each) for each in ids]
    states = await link.log.states(names)
    last = max((at for at, state in enumerate(states) if state is not None), default=0)
    state = states[last]
    at = last + 1 if state is not None and state.outcome == INTERRUPTED else last
    if at == most:
        message = f"The key's {most} streams have all lost their producers (MIDSTREAM_MAX_ATTEMPTS)."
        raise ProduceError("attempts_exhausted", message, stream_id=ids[last])
    if None in states[:at]:
        raise ProduceError("stream_deleted", EARLIER_GONE, stream_id=ids[last])
    return ids[at], names[:at]


async def _created_and_claimed(link: LogLink, request: GenerationRequest, grant: Grant, stream_id: str) -> Attempt:
    parts, name = link.parts, stream_name(grant.tenant, stream_id)
    allowances = Allowances(EVERYTHING, EVERYTHING, parts.settings)
    new = new_stream_of(request, request.label, grant, allowances)
    counted = await link.limits.count(start_of(name, grant, allowances, new.size_bytes, parts.settings))
    if isinstance(counted, Excess) and await link.log.state(name) is None:
        refusal = refusal_of(counted)
        raise ProduceError(refusal.code, str(refusal), retry_after_s=refusal.retry_after_s)
    created_ms = await link.log.create(
        name, new, look_in_ms=look_again_ms(parts.settings), life_s=parts.settings.longest_life_s
    )
    claim = Attempt.claim(parts, name, new_owner(link.name))
    if created_ms is None:
        attempt, _ = await claim  # its first producer may have died before its claim, and nobody has paid yet
    else:
        (attempt, _), _ = await asyncio.gather(claim, _list(link, grant, new, stream_id, created_ms))
    return attempt


async def _list(link: LogLink, grant: Grant, new: NewStream, stream_id: str, created_ms: int) -> None:
    keep_s = max(new.outcome_ttls_s.values())
    try:
        for owner in {grant.tenant, grant.owner}:
            await link.registry.add(owner, stream_id, created_ms, keep_s=keep_s)
    except LogUnavailable:
        logger.warning("stream %s is not listed: Redis did not answer", stream_id, extra={"stream": stream_id})


def refuse(error: LogError, stream_id: str | None) -> NoReturn:
    """Raise the `ProduceError` that tells a program why nothing was started."""
    match error:
        case UnfitServer():
            raise ProduceError("unfit_server", str(error)) from error
        case StaleEpoch() | StreamSealed():
            raise ProduceError(
                "already_produced", "Another producer has this key's stream.", stream_id=stream_id
            ) from error
        case IdempotencyMismatch():
            message = "This key has begun a stream with other fields."
            raise ProduceError("idempotency_mismatch", message, stream_id=stream_id) from error
        case StreamDeleted():
            raise ProduceError("stream_deleted", "This key's stream was deleted.", stream_id=stream_id) from error
        case LogFull():
            raise ProduceError("log_full", "The server is out of memory.") from error
    raise ProduceError("log_unavailable", str(error)) from error
