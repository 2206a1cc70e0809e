"""`/v1/responses`: create, retrieve, cancel, delete, input items (PROTOCOL: Responses/Doors)."""

from dataclasses import replace
from typing import Annotated, Final, Literal

import orjson
from fastapi import APIRouter, Query, Request, Response, WebSocket

from midstream.faces.peer_errors import openai_error
from midstream.faces.responses import ResponsesFace
from midstream.http.auth import AHouse, ATenant
from midstream.http.native.stream_routes import JSON
from midstream.http.peers import counting, deliveries, dialect
from midstream.http.peers.dialect import Json
from midstream.http.peers.noted_route import NotedRoute
from midstream.http.peers.unsupported import encrypted_of, refuse_for_responses, refuse_unreadable
from midstream.http.problems import Problem
from midstream.http.responses import compaction
from midstream.http.responses.compaction import CompactRequest
from midstream.http.responses.input_items import as_items, input_items
from midstream.http.responses.past_responses import face_of, found, given
from midstream.http.responses.responses_history import history
from midstream.http.responses.responses_request import ResponsesRequest
from midstream.log.entries import CANCELLED
from midstream.log.state import State
from midstream.requests.summaries import opened
from midstream.service import answers, streams
from midstream.service.services import House

router = APIRouter(prefix="/v1/responses", tags=["OpenAI"], route_class=NotedRoute)

UNSTORED_TTL_S: Final = 600
"""How long a `store: false` response is kept behind its end: long enough for the SDK's retry."""
CANCEL_WAIT_S: Final = 5.0
"""How long a cancel waits for the worker to write the end."""

NO_SOCKET: Final = "Responses have no WebSocket here: create them by POST /v1/responses, or use /v1/ws."

Order = Literal["asc", "desc"]


@router.post("", response_class=Response)
async def create_response(body: ResponsesRequest, request: Request, house: AHouse, tenant: ATenant) -> Response:
    """Create a response, durably; `Stream-Id` is its stream."""
    background, store = bool(body.background), body.store is not False
    if background and not store:
        raise Problem(400, "bad_request", "A background response has to be stored.", param="background")
    refuse_for_responses(body.params, body.items)
    said = await history(house, tenant, body.previous_response_id) if body.previous_response_id else []
    model = dialect.model_of(body.model, "openai", house.settings)
    refuse_unreadable([*said, *body.items], model, house.settings)
    before = _instructions(body)
    wanted = dialect.generation(
        model=model,
        input=[*before, *_asked(said, body)],
        params=body.params,
        metadata=body.metadata or {},
        ttl_s=None if store else UNSTORED_TTL_S,
    )
    origin: Json = {"face": "responses", "echo": body.echo(), "background": background, "before": len(before)}
    if encrypted_of(body.include):
        origin["encrypted"] = True
    stream_id = await dialect.start(request, house, tenant, wanted, origin)
    state = await streams.find(house, tenant, stream_id)
    face = face_of(stream_id, state, origin)
    if body.stream:
        return await dialect.streamed(house, tenant, stream_id, face, request=request, keeps_on=background)
    if background:
        return _json(face.resource(face.begin(), status="queued"), stream_id)
    if await dialect.end_of(request, house, tenant, stream_id) is None:
        return Response(status_code=deliveries.CLIENT_GONE)
    course, *_ = await answers.response(house, stream_id, face)
    dialect.refuse_failure(stream_id, course.end)
    return _json(face.resource(course), stream_id)


@router.post("/compact", response_class=Response)
async def compact_conversation(body: CompactRequest, request: Request, house: AHouse, tenant: ATenant) -> Response:
    """Compact a conversation: the model summarises it, durably; what is left goes on as the next input."""
    refuse_for_responses(body.params, body.items)
    said = await history(house, tenant, body.previous_response_id) if body.previous_response_id else []
    items = _asked(said, body)
    model = dialect.model_of(body.model, "openai", house.settings)
    refuse_unreadable(items, model, house.settings)
    before = _instructions(body)
    wanted = dialect.generation(
        model=model,
        input=[*before, *compaction.conversation(items), {"role": "user", "content": compaction.ORDER}],
        params=body.params,
        ttl_s=UNSTORED_TTL_S if body.store is False else None,
    )
    origin: Json = {"face": compaction.FACE, "model": body.model, "before": len(before), "behind": 1}
    stream_id = await dialect.start(request, house, tenant, wanted, origin)
    state = await dialect.end_of(request, house, tenant, stream_id)
    if state is None:
        return Response(status_code=deliveries.CLIENT_GONE)
    return _json(await compaction.compacted(house, stream_id, state.created_ms), stream_id)


@router.post("/input_tokens", response_class=Response)
async def count_input_tokens(body: ResponsesRequest, house: AHouse, tenant: ATenant) -> Response:
    """Count the tokens of an input, at OpenAI; a previous response of ours is told in full."""
    model = dialect.model_of(body.model, "openai", house.settings)
    said = await history(house, tenant, body.previous_response_id) if body.previous_response_id else []
    asked = body.model_dump(exclude_unset=True, exclude={"model", "previous_response_id"})
    asked["input"] = [item for message in _asked(said, body) for item in as_items(opened(message))]
    return JSON(await counting.count(house.settings, "openai", model, asked, []))


@router.get("/{response_id}", response_class=Response)
async def get_response(
    response_id: str,
    house: AHouse,
    tenant: ATenant,
    stream: Annotated[bool, Query(description="answer with the events")] = False,
    starting_after: Annotated[int | None, Query(ge=0, description="the last `sequence_number` you have")] = None,
    include: Annotated[list[str] | None, Query(alias="include[]", description="beyond what create asked for")] = None,
) -> Response:
    """Retrieve a response as it is, or its events."""
    encrypted = encrypted_of(include)
    stream_id, state, face = await found(house, tenant, response_id)
    face = replace(face, encrypted=encrypted or face.encrypted)
    if not stream:
        return _json(await _shown(house, stream_id, state, face), stream_id)
    if house.settings.strict_openai and not face.background:
        detail = "This response cannot be streamed: it was not created with background=true."
        raise Problem(400, "bad_request", detail, param="stream")
    if starting_after is None:
        return await dialect.streamed(house, tenant, stream_id, face, keeps_on=True)
    course, events, last = await answers.response(house, stream_id, face, behind=starting_after)
    if starting_after >= course.sequence:
        detail = f"This response has only {course.sequence} events: there is nothing to start after {starting_after}."
        raise Problem(400, "bad_cursor", detail, param="starting_after")
    response = await dialect.streamed(house, tenant, stream_id, face, after=last, keeps_on=True)
    response.opening = b"".join(events)
    return response


@router.post("/{response_id}/cancel", response_class=Response)
async def cancel_response(response_id: str, house: AHouse, tenant: ATenant) -> Response:
    """Stop a response. As with OpenAI, one that has ended otherwise cannot be cancelled."""
    stream_id, state, face = await found(house, tenant, response_id)
    if house.settings.strict_openai and not face.background:
        raise Problem(400, "bad_request", "Only a background response can be cancelled.")
    if state.ended and state.outcome != CANCELLED:
        raise Problem(400, "bad_request", f"A response that is {state.outcome} cannot be cancelled.")
    await streams.cancel(house, tenant, stream_id)
    await streams.ended(house, tenant, stream_id, CANCEL_WAIT_S)
    state = await streams.find(house, tenant, stream_id)
    return _json(await _shown(house, stream_id, state, face), stream_id)


@router.delete("/{response_id}", response_class=Response)
async def delete_response(response_id: str, house: AHouse, tenant: ATenant) -> Response:
    """Forget a response and its stream; one that still runs is cancelled first."""
    stream_id, _, _ = await found(house, tenant, response_id)
    await streams.delete(house, tenant, stream_id)
    return _json({"id": response_id, "object": "response", "deleted": True}, stream_id)


@router.get("/{response_id}/input_items", response_class=Response)
async def list_input_items(
    response_id: str,
    house: AHouse,
    tenant: ATenant,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Order = "desc",
    after: str | None = None,
) -> Response:
    """List what the response was made from, its history included."""
    stream_id, _, _ = await found(house, tenant, response_id)
    items = input_items(stream_id, await given(house, stream_id))
    if order == "desc":
        items.reverse()
    ids = [item["id"] for item in items]
    if after is not None:
        if after not in ids:
            raise Problem(400, "bad_request", "There is no such item.", param="after")
        items = items[ids.index(after) + 1 :]
    page = items[:limit]
    listed = {"object": "list", "data": page, "has_more": len(items) > limit}
    first, last = (page[0]["id"], page[-1]["id"]) if page else (None, None)
    return _json({**listed, "first_id": first, "last_id": last}, stream_id)


def _asked(said: list[Json], body: ResponsesRequest | CompactRequest) -> list[Json]:
    """Return the conversation that a request is about.

    Raises:
        Problem: 400 `bad_request`: there is none.
    """
    if items := [*said, *body.items]:
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


def _json(document: Json, stream_id: str) -> Response:
    return JSON(document, headers={"Stream-Id": stream_id})


async def _shown(house: House, stream_id: str, state: State, face: ResponsesFace) -> Json:
    course, *_ = await answers.response(house, stream_id, face)
    queued = course.end is None and state.status == "queued" and face.background
    return face.resource(course, status="queued" if queued else None)
