"""How a producer in any process begins its stream: created, claimed and registered as every other one is."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from midstream.access.allowance import EVERYTHING, Allowances
from midstream.access.grant import Grant, Scope
from midstream.attempts.attempt import Attempt
from midstream.lifecycle.verdict import look_again_ms
from midstream.log.errors import (
    IdempotencyMismatch,
    LogError,
    LogFull,
    LogUnavailable,
    NewerFormat,
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
from midstream.service.producer_refusal import ProducerRefusedError
from midstream.service.start_limits import refusal_of
from midstream.service.taken_up import Place, place_of

logger = logging.getLogger(__name__)


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
    place, most = Place(new_id()), link.settings.max_attempts
    try:
        if key is not None:
            secret = await link.secret()
            place = await place_of(link.log, secret, grant, key, request, most=most, take_up=take_up)
        return Opened(await _created_and_claimed(link, request, grant, place.stream_id), place.earlier)
    except ProducerRefusedError as error:
        raise ProduceError(error.code, str(error), stream_id=error.facts["id"]) from None
    except LogError as error:
        refuse(error, place.stream_id)


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
            message = str(error) or "This key's stream was deleted."
            raise ProduceError("stream_deleted", message, stream_id=stream_id) from error
        case NewerFormat():
            raise ProduceError(error.code, str(error), stream_id=stream_id) from error
        case LogFull():
            raise ProduceError("log_full", "The server is out of memory.") from error
    raise ProduceError("log_unavailable", str(error)) from error
