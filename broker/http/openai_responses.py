"""`/v1/responses`: create, retrieve, cancel, delete, input items (PROTOCOL: Faces/Responses)."""

from dataclasses import replace
from typing import Annotated, Final, Literal

import orjson
from fastapi import APIRouter, Query, Request, Response

from broker.faces.responses import ResponsesFace
from broker.http import dialect
from broker.http.auth import AHouse, ATenant
from broker.http.dialect import Json
from broker.http.input_items import input_items
from broker.http.problems import Problem
from broker.http.responses_request import ResponsesRequest, whole_echo
from broker.http.streams import JSON
from broker.http.unsupported import encrypted_of, refuse_for_responses
from broker.log.entries import CANCELLED
from broker.log.errors import StreamAbsent
from broker.log.keys import ID_CHARS
from broker.log.state import State
from broker.ops import answers, streams
from broker.ops.house import House
from broker.request import GenerationRequest

router = APIRouter(prefix="/v1/responses", tags=["OpenAI"])

PREFIX: Final = "resp_"
UNSTORED_TTL_S: Final = 600
"""How long a `store: false` response is kept behind its end: long enough for the SDK's retry."""
CANCEL_WAIT_S: Final = 5.0
"""How long a cancel waits for the worker to write the end."""

Order = Literal["asc", "desc"]


@router.post("", response_class=Response)
async def create_response(body: ResponsesRequest, request: Request, house: AHouse, tenant: ATenant) -> Response:
    """Create a response, durably; `Stream-Id` is its stream."""
    background, store = bool(body.background), body.store is not False
    if background and not store:
        raise Problem(400, "bad_request", "A background response has to be stored.", param="background")
    refuse_for_responses(body.params, body.items)
    history = await _history(house, tenant, body.previous_response_id) if body.previous_response_id else []
    before = [{"role": "system", "content": body.instructions}] if body.instructions else []
    wanted = dialect.generation(
        model=dialect.model_of(body.model, "openai", house.settings),
        input=[*before, *history, *body.items],
        params=body.params,
        metadata=body.metadata or {},
        ttl_s=None if store else UNSTORED_TTL_S,
    )
    origin: Json = {"face": "responses", "echo": body.echo(), "background": background, "before": len(before)}
    if encrypted_of(body.include):
        origin["encrypted"] = True
    stream_id = await dialect.start(request, house, tenant, wanted, origin)
    state = await streams.find(house, tenant, stream_id)
    face = _face(stream_id, state, origin)
    if body.stream:
        return await dialect.streamed(house, tenant, stream_id, face, keeps_on=background)
    if background:
        return _json(face.resource(face.begin(), status="queued"), stream_id)
    if await dialect.end_of(request, house, tenant, stream_id) is None:
        return Response(status_code=dialect.CLIENT_GONE)
    course, *_ = await answers.response(house, stream_id, face)
    dialect.refuse_failure(stream_id, course.end)
    return _json(face.resource(course), stream_id)


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
    stream_id, state, face = await _found(house, tenant, response_id)
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
    stream_id, state, face = await _found(house, tenant, response_id)
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
    stream_id, _, _ = await _found(house, tenant, response_id)
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
    stream_id, _, _ = await _found(house, tenant, response_id)
    items = input_items(stream_id, await _input(house, stream_id))
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


def _json(document: Json, stream_id: str) -> Response:
    return JSON(document, headers={"Stream-Id": stream_id})


def _face(stream_id: str, state: State, origin: Json) -> ResponsesFace:
    """Return the face of a stream, whichever face started it."""
    echo = origin.get("echo") or {
        "model": origin.get("model", state.model),
        "metadata": orjson.loads(state.metadata),
    }
    return ResponsesFace(
        stream_id,
        state.created_ms,
        orjson.dumps(whole_echo(echo)),
        background=origin.get("background", False),
        encrypted=origin.get("encrypted", False),
    )


async def _found(house: House, tenant: str, response_id: str) -> tuple[str, State, ResponsesFace]:
    """Return a tenant's response; raises `StreamAbsent` also where it was not to be stored."""
    stream_id = response_id.removeprefix(PREFIX)
    if len(response_id) != len(PREFIX) + ID_CHARS or stream_id == response_id:
        raise StreamAbsent(response_id)
    state = await streams.find(house, tenant, stream_id)
    origin = await dialect.origin_of(house, stream_id)
    if origin.get("echo", {}).get("store") is False:
        raise StreamAbsent(response_id)
    return stream_id, state, _face(stream_id, state, origin)


async def _shown(house: House, stream_id: str, state: State, face: ResponsesFace) -> Json:
    course, *_ = await answers.response(house, stream_id, face)
    queued = course.end is None and state.status == "queued" and face.background
    return face.resource(course, status="queued" if queued else None)


async def _input(house: House, stream_id: str) -> list[Json]:
    """Return what a stream was started with but for the instructions, which do not carry over."""
    origin = await dialect.origin_of(house, stream_id)
    request = GenerationRequest.model_validate_json(await house.log.request(stream_id))
    return request.as_messages()[origin.get("before", 0) :]


async def _history(house: House, tenant: str, response_id: str) -> list[Json]:
    """Return the conversation up to the end of an earlier response.

    Raises:
        Problem: 400, 404: There is no such response, or it has not ended.
    """
    try:
        stream_id, state, face = await _found(house, tenant, response_id)
    except StreamAbsent:
        detail = f"Previous response with id '{response_id}' not found."
        raise Problem(404, "previous_response_not_found", detail, param="previous_response_id") from None
    if not state.ended:
        detail = "The previous response has not ended yet."
        raise Problem(400, "bad_request", detail, param="previous_response_id")
    course, *_ = await answers.response(house, stream_id, face)
    said = [item for shown in face.resource(course)["output"] for item in _as_input(shown)]
    return [*await _input(house, stream_id), *said]


def _as_input(item: Json) -> list[Json]:
    """Return an output item as input of the next turn; reasoning is the provider's own to remember."""
    match item:
        case {"type": "message", "content": content}:
            text = "".join(part.get("text") or part.get("refusal") or "" for part in content)
            return [{"role": "assistant", "content": text}] if text else []
        case {"type": "function_call", "status": "completed", "call_id": call_id, "name": name, "arguments": arguments}:
            return [{"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}]
    return []
