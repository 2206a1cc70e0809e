"""How the endpoints of the peers' SDKs run a generation: how it starts, is tailed, and is waited for."""

import asyncio
import re
from collections.abc import Coroutine
from typing import Any, Final

from fastapi import Request
from pydantic import ValidationError

from midstream.access.grant import Scope
from midstream.faces.face import Face
from midstream.faces.peer_errors import failure_of
from midstream.http.peers import deliveries
from midstream.http.peers.headers_route import add_headers
from midstream.http.peers.unsupported import refuse_lacking
from midstream.http.problems import Problem, misfit
from midstream.http.tails.event_response import EventResponse
from midstream.log.answer import Answer
from midstream.log.entries import CANCELLED, COMPLETED, Json, is_word
from midstream.log.errors import IdempotencyMismatch, LogUnavailable, StreamAbsent, StreamDeleted
from midstream.requests.catalogue import MissingProviderKey, resolve
from midstream.requests.effective_params import needs_chat
from midstream.requests.request import GenerationRequest
from midstream.service.caller import Caller
from midstream.service.stream_handle import StreamHandle
from midstream.settings import Settings

_COUNT: Final = re.compile("[0-9]{1,3}")
CANCEL_AGAIN_S: Final = 0.5
"""Wait before a cancel is repeated that the log did not answer."""


def model_of(name: str, provider: str, caller: Caller) -> str:
    """Return the full name of a model; a name without a provider is one of the endpoint's own provider.

    Raises:
        UnknownModel: There is no such model for the caller; the server's default is never taken instead.
        Problem: 400 `missing_provider_key`.
    """
    try:
        return resolve(name if "/" in name else f"{provider}/{name}", caller.settings, caller.streams.models)
    except MissingProviderKey as error:
        raise Problem(400, "missing_provider_key", f"There is no model {name!r} here: {error}", param="model") from None


def generation_request(**fields: Any) -> GenerationRequest:
    """Return the request to run.

    Raises:
        Problem: 400 `bad_request`.
    """
    try:
        return GenerationRequest(**fields)
    except ValidationError as error:
        raise misfit(error.errors()) from None


def require_scopes(caller: Caller) -> None:
    """Refuse unless the credential may both start a generation and read its answer, which is this request's.

    Raises:
        InsufficientScopeError: It may not.
    """
    caller.require(Scope.START)
    caller.require(Scope.READ)


async def start(
    request: Request, caller: Caller, generation: GenerationRequest, origin: Json, *, tails: bool = False
) -> StreamHandle:
    """Start a stream, or find the one that a lost try of the same request began (PROTOCOL: Faces/Retries).

    `tails`: the same request will tail it.

    Raises:
        Problem: 400 `unsupported_parameter`: the model's provider has no such parameter.
    """
    require_scopes(caller)
    if tails:
        caller.streams.require_room()
    settings = caller.settings
    refuse_lacking(str(generation.model), generation.params, settings)
    add_headers(request, _reattach_header(generation, settings))
    key = request.headers.get("idempotency-key") or None
    count = request.headers.get("x-stainless-retry-count", "")
    if key is not None or not _COUNT.fullmatch(count) or settings.strict_openai:
        stream, _ = await caller.streams.start(generation, key, origin=origin)
        return stream
    while True:
        this_try = await caller.begin_try(request.scope["path"], await request.body(), int(count))
        deliveries.expect(request.scope, this_try)
        try:
            stream, _ = await caller.streams.start(
                generation, None, stream_id=this_try.stream_id, origin=origin, pointer=this_try.pointer
            )
            if this_try.new or stream.state.outcome != CANCELLED:
                return stream
        except (StreamDeleted, StreamAbsent, IdempotencyMismatch):
            if this_try.new:
                raise
        # A client that cancelled or deleted that stream knew of it. So this is another request, not a retry.
        await this_try.finish(delivered=True)


def _reattach_header(generation: GenerationRequest, settings: Settings) -> dict[str, str]:
    """Return the header which says that a generation cannot be re-attached, although others of its provider can."""
    names = needs_chat(str(generation.model), generation.params, settings)
    if not names or not settings.openai_background or generation.params.get("store") is False:
        return {}
    return {"Stream-Reattach": f"no; because={','.join(names)}"}


async def tail_new_stream(request: Request, caller: Caller, stream: StreamHandle, face: Face[Any]) -> EventResponse:
    """Return the response that tails a stream which its request started, from the first word on.

    In strict mode a client that leaves cancels the stream.

    Raises:
        Problem: The stream failed before its first word, or this broker is stopping.
    """
    await _refuse_early_failure(request, caller, stream)
    return await tail_stream(caller, stream, face, request=request, cancels=caller.settings.strict_openai)


async def tail_stream(
    caller: Caller,
    stream: StreamHandle,
    face: Face[Any],
    *,
    request: Request | None = None,
    after: int = 0,
    opening: bytes = b"",
    cancels: bool = False,
) -> EventResponse:
    """Return the response that tails a stream by a face; where it `cancels`, a client that leaves stops the stream.

    `opening` is sent before the entries after `after`. `request` is the one that started the stream, if it did: its try
    ends with this response.
    """
    this_try = None if request is None else deliveries.take(request.scope)
    wire = None if request is None else deliveries.lasting_wire(request.scope)
    async with caller.streams.follow(stream.id) as follower:
        tail = follower.join(face, after)

    async def over(gone: bool) -> None:
        if this_try is not None:
            whole = response.sent and follower.ended and tail.cursor >= follower.tail
            await deliveries.finish(wire, this_try, delivered=whole)
        if cancels and gone:
            await _cancel(stream)

    response = EventResponse(
        tail,
        opening=opening,
        over=over if cancels or this_try is not None else None,
        settings=caller.settings,
    )
    return response


async def _cancel(stream: StreamHandle) -> None:
    while True:
        try:
            await stream.cancel()
        except LogUnavailable:
            await asyncio.sleep(CANCEL_AGAIN_S)  # nobody else knows that the client has left
        except StreamAbsent:
            return
        else:
            return


async def _refuse_early_failure(request: Request, caller: Caller, stream: StreamHandle) -> None:
    """Wait for the first word, as long as no heartbeat is due, so that a failure before it has its own status.

    Raises:
        Problem: There was no word, and the stream has failed, or this broker is stopping.
    """
    waiting = caller.streams.wait_for_word(stream.id, caller.settings.first_word_s)
    if not await _unless_gone(request, waiting):
        return
    state = await stream.refresh()
    if state.outcome == COMPLETED or not (state.ended or caller.is_stopping):
        return
    if not [entry async for entry in stream.entries() if is_word(entry.content)]:
        await completed_answer(stream)
        raise _moved(stream.id)


async def wait_for_end(request: Request, caller: Caller, stream: StreamHandle) -> bool:
    """Wait for a stream's end and read its state; return False if the client has gone before.

    A client that leaves does not touch the generation, except in strict mode.

    Raises:
        Problem: 504 or 503: it has not ended yet; the same request again joins the stream.
    """
    settings = caller.settings
    limit_s = settings.queue_timeout_s + settings.generation_timeout_s + settings.lease_ms / 1000
    in_time = await _unless_gone(request, caller.streams.wait_for_end(stream.id, limit_s))
    if in_time is None:
        if settings.strict_openai:
            await stream.cancel()
        return False
    state = await stream.refresh()
    if not state.ended:
        if in_time:
            raise _moved(stream.id)
        headers = {"Stream-Id": stream.id, "Retry-After": "1"}
        raise Problem(504, "still_running", "It has not ended yet; the same request again goes on.", headers=headers)
    return True


def _moved(stream_id: str) -> Problem:
    detail = "This broker is stopping; the same request again goes on."
    return Problem(503, "stream_moved", detail, headers={"Stream-Id": stream_id, "Retry-After": "1"})


async def _unless_gone(request: Request, waiting: Coroutine[Any, Any, bool]) -> bool | None:
    """Return the result of `waiting`, or None if the client has gone before."""
    waited = asyncio.create_task(waiting)
    gone = asyncio.create_task(_wait_until_gone(request))
    try:
        await asyncio.wait((waited, gone), return_when=asyncio.FIRST_COMPLETED)
        return waited.result() if waited.done() else None
    finally:
        for task in (waited, gone):
            task.cancel()
        await asyncio.gather(waited, gone, return_exceptions=True)


async def _wait_until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def completed_answer(stream: StreamHandle) -> Answer:
    """Return the answer of an ended stream.

    Raises:
        Problem: The stream did not complete; the status and code of its failure.
    """
    answer = await stream.answer()
    refuse_failure(stream.id, answer.end)
    return answer


def refuse_failure(stream_id: str, end: Json | None) -> None:
    """Raise the failure of an ended stream as a problem, unless it was completed.

    The SDKs are told not to try again, because the worker has done so wherever that could help.
    """
    if end is not None and end["outcome"] != COMPLETED:
        failure = failure_of(end)
        headers = {"Stream-Id": stream_id, "x-should-retry": "false"}
        raise Problem(failure.status, failure.code, failure.message, headers=headers)
