"""What the doors of all peers' dialects share: how a request becomes a stream, and how its end is waited for."""

import asyncio
import hashlib
import re
from collections.abc import Coroutine
from typing import Any, Final

import orjson
from fastapi import Request
from pydantic import ValidationError

from midstream.faces.face import Face
from midstream.faces.peer_errors import failure_of
from midstream.http.peers import deliveries, noted_route
from midstream.http.peers.unsupported import refuse_lacking
from midstream.http.problems import Problem, misfit
from midstream.http.tails.event_response import EventResponse
from midstream.log.entries import CANCELLED, COMPLETED, is_word
from midstream.log.errors import IdempotencyMismatch, LogUnavailable, StreamAbsent, StreamDeleted
from midstream.log.state import State
from midstream.requests.catalogue import MissingProviderKey, resolve
from midstream.requests.effective_params import needs_chat
from midstream.requests.request import GenerationRequest
from midstream.service import answers, streams
from midstream.service.answers import Answer
from midstream.service.services import House
from midstream.settings import Settings

_COUNT: Final = re.compile("[0-9]{1,3}")
CANCEL_AGAIN_S: Final = 0.5
"""Wait before a cancel is asked for again that the log did not hear."""

Json = dict[str, Any]


def model_of(name: str, provider: str, settings: Settings) -> str:
    """Return the full name of a model; a name without a provider is one of the face's own.

    Raises:
        UnknownModel, MissingProviderKey: No such model here; the server's default is never taken instead.
    """
    try:
        return resolve(name if "/" in name else f"{provider}/{name}", settings)
    except MissingProviderKey as error:
        raise Problem(400, "missing_provider_key", f"There is no model {name!r} here: {error}", param="model") from None


def generation(**fields: Any) -> GenerationRequest:
    """Return the request to run.

    Raises:
        Problem: 400 `bad_request`.
    """
    try:
        return GenerationRequest(**fields)
    except ValidationError as error:
        raise misfit(error.errors()) from None


async def start(request: Request, house: House, tenant: str, wanted: GenerationRequest, origin: Json) -> str:
    """Start a stream, or find the one that a lost try of the same request began (PROTOCOL: Faces/Retries).

    Raises:
        Problem: 400 `unsupported_parameter`: the model's provider lacks what is asked for.
    """
    refuse_lacking(str(wanted.model), wanted.params, house.settings)
    noted_route.note(request, _reattach(wanted, house.settings))
    key = request.headers.get("idempotency-key") or None
    count = request.headers.get("x-stainless-retry-count", "")
    if key is not None or not _COUNT.fullmatch(count) or house.settings.strict_openai:
        started, _ = await streams.start(house, tenant, wanted, key, origin=origin)
        return started
    body = hashlib.sha256(await request.body()).hexdigest()
    digest = hashlib.sha256(f"{tenant}\0{request.scope['path']}\0{body}".encode()).hexdigest()
    while True:
        attempt = await house.retries.begin(digest, int(count))
        deliveries.expect(request.scope, attempt)
        try:
            started, _ = await streams.start(house, tenant, wanted, None, stream_id=attempt.stream_id, origin=origin)
            if attempt.new or (await streams.find(house, tenant, started)).outcome != CANCELLED:
                return started
        except (StreamDeleted, StreamAbsent, IdempotencyMismatch):
            if attempt.new:
                raise
        # Whoever was asked for it does not want it any more, and must have known it: this is another request.
        await attempt.over(delivered=True)


def _reattach(wanted: GenerationRequest, settings: Settings) -> dict[str, str]:
    """Return the header which says that a generation cannot be re-attached, although others of its provider can."""
    names = needs_chat(str(wanted.model), wanted.params, settings)
    if not names or not settings.openai_background or wanted.params.get("store") is False:
        return {}
    return {"Stream-Reattach": f"no; because={','.join(names)}"}


async def origin_of(house: House, stream_id: str) -> Json:
    """Return what the face that started a stream has noted; empty for a native start."""
    noted: Json = orjson.loads(await house.log.origin(stream_id) or b"{}")
    return noted


async def streamed(
    house: House,
    tenant: str,
    stream_id: str,
    face: Face[Any],
    *,
    request: Request | None = None,
    after: int = 0,
    keeps_on: bool = False,
) -> EventResponse:
    """Return the response that tails a stream by a face; in strict mode leaving it cancels, unless it `keeps_on`.

    `request` is the one that started the stream, if it did; unless it `keeps_on`, its answer begins at the first word.

    Raises:
        Problem: The stream failed before its first word.
    """
    if request is not None and not keeps_on:
        await _refuse_early_failure(request, house, tenant, stream_id)
    cancels = house.settings.strict_openai and not keeps_on
    attempt = None if request is None else deliveries.taken(request.scope)
    wire = None if request is None else deliveries.lasting(request.scope)
    async with streams.follow(house, tenant, stream_id) as follower:
        tail = follower.join(face, after)

    async def over(gone: bool) -> None:
        if attempt is not None:
            whole = response.sent and follower.ended and tail.cursor >= follower.tail
            await deliveries.tell(wire, attempt, delivered=whole)
        if cancels and gone:
            await _cancel(house, tenant, stream_id)

    response = EventResponse(
        tail,
        opening=b"",
        over=over if cancels or attempt is not None else None,
        send_timeout_s=house.settings.send_timeout_ms / 1000,
    )
    return response


async def _cancel(house: House, tenant: str, stream_id: str) -> None:
    while True:
        try:
            await streams.cancel(house, tenant, stream_id)
        except LogUnavailable:
            await asyncio.sleep(CANCEL_AGAIN_S)  # nobody else knows that it is not wanted any more
        except StreamAbsent:
            return
        else:
            return


async def _refuse_early_failure(request: Request, house: House, tenant: str, stream_id: str) -> None:
    """Wait for the first word, as long as no heartbeat is due, so that a failure before it has its own status.

    Raises:
        Problem: It has said nothing, and failed, or this server is stopping.
    """
    waiting = streams.spoken(house, tenant, stream_id, house.settings.first_word_s)
    if not await _unless_gone(request, waiting):
        return
    state = await streams.find(house, tenant, stream_id)
    if state.outcome == COMPLETED or not (state.ended or house.hub.draining):
        return
    if not [row async for row in answers.entries(house, stream_id) if is_word(row.content)]:
        await completed(house, stream_id)
        raise _moved(stream_id)


async def end_of(request: Request, house: House, tenant: str, stream_id: str) -> State | None:
    """Wait for a stream's end and return its state; None if the client has gone before.

    A client's leaving does not touch the generation, but in strict mode.

    Raises:
        Problem: 504 or 503: not ended yet; the same request again joins the stream.
    """
    settings = house.settings
    limit_s = settings.queue_timeout_s + settings.generation_timeout_s + settings.lease_ms / 1000
    in_time = await _unless_gone(request, streams.ended(house, tenant, stream_id, limit_s))
    if in_time is None:
        if settings.strict_openai:
            await streams.cancel(house, tenant, stream_id)
        return None
    state = await streams.find(house, tenant, stream_id)
    if not state.ended:
        if in_time:
            raise _moved(stream_id)
        headers = {"Stream-Id": stream_id, "Retry-After": "1"}
        raise Problem(504, "still_running", "It has not ended yet; the same request again goes on.", headers=headers)
    return state


def _moved(stream_id: str) -> Problem:
    detail = "This server is stopping; the same request again goes on."
    return Problem(503, "stream_moved", detail, headers={"Stream-Id": stream_id, "Retry-After": "1"})


async def _unless_gone(request: Request, waiting: Coroutine[Any, Any, bool]) -> bool | None:
    """Return what is waited for, or None if the client has gone before."""
    waited = asyncio.create_task(waiting)
    gone = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait((waited, gone), return_when=asyncio.FIRST_COMPLETED)
        return waited.result() if waited.done() else None
    finally:
        for task in (waited, gone):
            task.cancel()
        await asyncio.gather(waited, gone, return_exceptions=True)


async def completed(house: House, stream_id: str) -> Answer:
    """Return the answer of an ended stream.

    Raises:
        Problem: The stream did not complete; the status and code of its failure.
    """
    said = await answers.answer(house, stream_id)
    refuse_failure(stream_id, said.end)
    return said


def refuse_failure(stream_id: str, end: Json | None) -> None:
    """Raise the failure of an ended stream as a problem, unless it was completed.

    The SDKs are told not to try again: the worker has, where that could help.
    """
    if end is not None and end["outcome"] != COMPLETED:
        failure = failure_of(end)
        headers = {"Stream-Id": stream_id, "x-should-retry": "false"}
        raise Problem(failure.status, failure.code, failure.message, headers=headers)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
