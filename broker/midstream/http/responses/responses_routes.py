"""`/v1/responses`: create, retrieve, cancel, delete, input items (PROTOCOL: Responses/Doors)."""

from dataclasses import replace
from typing import Annotated, Final, Literal

import orjson
from fastapi import APIRouter, Query, Request, Response, WebSocket

from midstream.access.grant import Scope
from midstream.faces.peer_errors import openai_error
from midstream.faces.responses import ResponsesFace
from midstream.http.auth import ACaller
from midstream.http.json_response import JsonResponse
from midstream.http.peers import counting, deliveries, generations
from midstream.http.peers.headers_route import HeadersRoute
from midstream.http.peers.unsupported import encrypted_of, refuse_for_responses, refuse_unreadable
from midstream.http.problems import Problem
from midstream.http.responses import compaction
from midstream.http.responses.compaction import CompactRequest
from midstream.http.responses.input_items import as_items, input_items
from midstream.http.responses.past_responses import events_after, face_of, find_response, input_of, state_of
from midstream.http.responses.responses_history import history
from midstream.http.responses.responses_request import ResponsesRequest
from midstream.log.entries import CANCELLED, Json
from midstream.requests.summaries import opened
from midstream.service.stream_handle import StreamHandle

router = APIRouter(prefix="/v1/responses", tags=["OpenAI"], route_class=HeadersRoute)

UNSTORED_TTL_S: Final = 600
"""How long a `store: false` response is kept after its end: long enough for the SDK's retry."""
CANCEL_WAIT_S: Final = 5.0
"""How long a cancel waits for the worker to write the end."""

NO_SOCKET: Final = "Responses have no WebSocket here: create them by POST /v1/responses, or use /v1/ws."

Order = Literal["asc", "desc"]


@router.post("", response_class=Response)
async def create_response(body: ResponsesRequest, request: Request, caller: ACaller) -> Response:
    """Create a response. Its stream is durable; the header `Stream-Id` names it."""
    background, store = bool(body.background), body.store is not False
    if background and not store:
        raise Problem(400, "bad_request", "A background response has to be stored.", param="background")
    generations.require_scopes(caller)
    refuse_for_responses(body.params, body.items)
    earlier = await history(caller, body.previous_response_id)
    model = generations.model_of(body.model, "openai", caller)
    refuse_unreadable([*earlier, *body.items], model, caller.settings)
    before = _instructions(body)
    generation = generations.generation_request(
        model=model,
        input=[*before, *_conversation(earlier, body)],
        params=body.params,
        metadata=body.metadata or {},
        ttl_s=None if store else UNSTORED_TTL_S,
    )
    origin: Json = {"face": "responses", "echo": body.echo(), "background": background, "before": len(before)}
    if encrypted_of(body.include):
        origin["encrypted"] = True
    stream = await generations.start(request, caller, generation, origin, tails=bool(body.stream))
    face = face_of(stream, origin)
    if body.stream and background:
        return await generations.tail_stream(caller, stream, face, request=request)
    if body.stream:
        return await generations.tail_new_stream(request, caller, stream, face)
    if background:
        return _json(face.resource(face.begin(), status="queued"), stream)
    if not await generations.wait_for_end(request, caller, stream):
        return Response(status_code=deliveries.CLIENT_GONE)
    state = await state_of(stream, face)
    generations.refuse_failure(stream.id, state.end)
    return _json(face.resource(state), stream)


@router.post("/compact", response_class=Response)
async def compact_conversation(body: CompactRequest, request: Request, caller: ACaller) -> Response:
    """Compact a conversation: the model summarises it, and `output` takes its place in the next input."""
    generations.require_scopes(caller)
    refuse_for_responses(body.params, body.items)
    earlier = await history(caller, body.previous_response_id)
    items = _conversation(earlier, body)
    model = generations.model_of(body.model, "openai", caller)
    refuse_unreadable(items, model, caller.settings)
    before = _instructions(body)
    generation = generations.generation_request(
        model=model,
        input=[*before, *compaction.conversation(items), {"role": "user", "content": compaction.ORDER}],
        params=body.params,
        ttl_s=UNSTORED_TTL_S if body.store is False else None,
    )
    origin: Json = {"face": compaction.FACE, "model": body.model, "before": len(before), "behind": 1}
    stream = await generations.start(request, caller, generation, origin)
    if not await generations.wait_for_end(request, caller, stream):
        return Response(status_code=deliveries.CLIENT_GONE)
    return _json(await compaction.compaction_object(stream), stream)


@router.post("/input_tokens", response_class=Response)
async def count_input_tokens(body: ResponsesRequest, caller: ACaller) -> Response:
    """Let OpenAI count the tokens of an input, with all of a previous response."""
    caller.require(Scope.START)
    model = generations.model_of(body.model, "openai", caller)
    earlier = await history(caller, body.previous_response_id)
    counted = body.model_dump(exclude_unset=True, exclude={"model", "previous_response_id"})
    counted["input"] = [item for message in _conversation(earlier, body) for item in as_items(opened(message))]
    return JsonResponse(await counting.count(caller.settings, "openai", model, counted, []))


@router.get("/{response_id}", response_class=Response)
async def get_response(
    response_id: str,
    caller: ACaller,
    stream: Annotated[bool, Query(description="`true`: stream the events.")] = False,
    starting_after: Annotated[int | None, Query(ge=0, description="The last `sequence_number` that you have.")] = None,
    include: Annotated[
        list[str] | None,
        Query(alias="include[]", description="Values of `include` in addition to those of the create."),
    ] = None,
) -> Response:
    """Retrieve a response as it is now, or stream its events."""
    encrypted = encrypted_of(include)
    past, face = await find_response(caller, response_id)
    face = replace(face, encrypted=encrypted or face.encrypted)
    if not stream:
        return _json(await _resource(past, face), past)
    if caller.settings.strict_openai and not face.background:
        detail = "This response cannot be streamed: it was not created with background=true."
        raise Problem(400, "bad_request", detail, param="stream")
    if starting_after is None:
        return await generations.tail_stream(caller, past, face)
    later, count, last = await events_after(past, face, starting_after)
    if starting_after >= count:
        detail = f"This response has only {count} events: there is nothing to start after {starting_after}."
        raise Problem(400, "bad_cursor", detail, param="starting_after")
    return await generations.tail_stream(caller, past, face, after=last, opening=b"".join(later))


@router.post("/{response_id}/cancel", response_class=Response)
async def cancel_response(response_id: str, caller: ACaller) -> Response:
    """Stop a response. As at OpenAI, a response that has ended otherwise cannot be cancelled."""
    caller.require(Scope.READ)  # the answer is the response
    stream, face = await find_response(caller, response_id, Scope.STOP)
    if caller.settings.strict_openai and not face.background:
        raise Problem(400, "bad_request", "Only a background response can be cancelled.")
    if stream.state.ended and stream.state.outcome != CANCELLED:
        raise Problem(400, "bad_request", f"A response that is {stream.state.outcome} cannot be cancelled.")
    await stream.cancel()
    await caller.streams.wait_for_end(stream.id, CANCEL_WAIT_S, is_exempt=True)
    await stream.refresh()
    return _json(await _resource(stream, face), stream)


@router.delete("/{response_id}", response_class=Response)
async def delete_response(response_id: str, caller: ACaller) -> Response:
    """Delete a response and its stream. A response that still runs is cancelled first."""
    stream, _ = await find_response(caller, response_id, Scope.STOP)
    await stream.delete()
    return _json({"id": response_id, "object": "response", "deleted": True}, stream)


@router.get("/{response_id}/input_items", response_class=Response)
async def list_input_items(
    response_id: str,
    caller: ACaller,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Order = "desc",
    after: str | None = None,
) -> Response:
    """List the input of a response, with the history before it."""
    stream, _ = await find_response(caller, response_id)
    items = input_items(stream.id, await input_of(stream))
    if order == "desc":
        items.reverse()
    ids = [item["id"] for item in items]
    if after is not None:
        if after not in ids:
            raise Problem(400, "bad_request", "There is no such item.", param="after")
        items = items[ids.index(after) + 1 :]
    page = items[:limit]
    first, last = (page[0]["id"], page[-1]["id"]) if page else (None, None)
    document = {"object": "list", "data": page, "first_id": first, "last_id": last, "has_more": len(items) > limit}
    return _json(document, stream)


def _conversation(earlier: list[Json], body: ResponsesRequest | CompactRequest) -> list[Json]:
    """Return the conversation that a request is about.

    Raises:
        Problem: 400 `bad_request`: there is none.
    """
    if items := [*earlier, *body.items]:
        return items
    raise Problem(400, "bad_request", "Give `input` or `previous_response_id`, or both.", param="input")


@router.websocket("")
async def refuse_socket(socket: WebSocket) -> None:
    """Say that a response's own socket is not served, in an event that OpenAI's SDKs read, and by the close."""
    await socket.accept()
    await socket.send_text(
        orjson.dumps({**openai_error(404, "not_found", NO_SOCKET), "type": "error", "status": 404}).decode()
    )
    await socket.close(1008, NO_SOCKET)


def _instructions(body: ResponsesRequest | CompactRequest) -> list[Json]:
    return [{"role": "system", "content": body.instructions}] if body.instructions else []


def _json(document: Json, stream: StreamHandle) -> Response:
    return JsonResponse(document, headers={"Stream-Id": stream.id})


async def _resource(stream: StreamHandle, face: ResponsesFace) -> Json:
    state = await state_of(stream, face)
    queued = state.end is None and stream.state.status == "queued" and face.background
    return face.resource(state, status="queued" if queued else None)
