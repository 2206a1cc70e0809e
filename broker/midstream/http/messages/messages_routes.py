"""`POST /v1/messages` (PROTOCOL: Faces/Doors)."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from midstream.access.grant import Scope
from midstream.faces.messages import MessagesFace
from midstream.http.auth import ACaller
from midstream.http.json_response import JsonResponse
from midstream.http.peers import counting, deliveries, generations
from midstream.http.peers.headers_route import HeadersRoute
from midstream.log.entries import RESET, Json, decode
from midstream.requests.catalogue import split
from midstream.service.stream_handle import StreamHandle

router = APIRouter(tags=["Anthropic"], route_class=HeadersRoute)


class MessagesRequest(BaseModel):
    """A message to create. The provider judges fields that are not named here."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(max_length=200)
    messages: list[dict[str, Any]] = Field(min_length=1)
    max_tokens: int = Field(ge=1)
    system: str | list[dict[str, Any]] | None = None
    betas: list[str] | None = None
    stream: bool | None = None


class CountRequest(BaseModel):
    """A message whose tokens are to be counted. Anthropic judges fields that are not named here."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(max_length=200)
    betas: list[str] | None = None


@router.post("/v1/messages", response_class=Response)
async def create_message(body: MessagesRequest, request: Request, caller: ACaller) -> Response:
    """Create a message. Its stream is durable; the header `Stream-Id` names it."""
    model = generations.model_of(body.model, "anthropic", caller)
    params = {**(body.model_extra or {}), "max_tokens": body.max_tokens}
    if betas := [*_betas(request), *(body.betas or ())]:
        params["betas"] = betas
    messages = [sendable for message in body.messages if (sendable := _without_unsigned(message)) is not None]
    if body.system and split(model)[0] == "anthropic":
        params["system"] = body.system  # as it is: its blocks may carry cache marks
    elif body.system:
        messages = [{"role": "system", "content": _plain(body.system)}, *messages]
    generation = generations.generation_request(model=model, messages=messages, params=params)
    origin: Json = {"face": "messages", "model": body.model}
    stream = await generations.start(request, caller, generation, origin, tails=bool(body.stream))
    face = MessagesFace(stream.id, body.model)
    if body.stream:
        return await generations.tail_new_stream(request, caller, stream, face)
    if not await generations.wait_for_end(request, caller, stream):
        return Response(status_code=deliveries.CLIENT_GONE)
    return JsonResponse(await _message(stream, face), headers={"Stream-Id": stream.id})


@router.post("/v1/messages/count_tokens", response_class=Response)
async def count_tokens(body: CountRequest, request: Request, caller: ACaller) -> Response:
    """Let Anthropic count the tokens of a message."""
    caller.require(Scope.START)
    model = generations.model_of(body.model, "anthropic", caller)
    counted = body.model_dump(exclude_unset=True, exclude={"model", "betas"})
    betas = [*_betas(request), *(body.betas or ())]
    return JsonResponse(await counting.count(caller.settings, "anthropic", model, counted, betas))


def _betas(request: Request) -> list[str]:
    """Return the beta features of Anthropic's that a request names in its header, as the SDKs do."""
    named = ",".join(request.headers.getlist("anthropic-beta"))
    return [beta for beta in map(str.strip, named.split(",")) if beta]


async def _message(stream: StreamHandle, face: MessagesFace) -> Json:
    """Return the message of an ended stream: its content after the last `reset`.

    Raises:
        Problem: The stream did not complete; the status and code of its failure.
    """
    state = face.begin()
    async for entry in stream.entries():
        if decode(entry.content, entry.offset, entry.epoch).type == RESET:
            state = face.begin()
        else:
            _, state = face.frame(entry, state)
    generations.refuse_failure(stream.id, state.end)
    return face.message(state)


def _plain(system: str | list[Json]) -> str:
    """Return a system prompt's text, without marks that mean something to Anthropic alone."""
    if isinstance(system, str):
        return system
    return "\n\n".join(str(block.get("text", "")) for block in system)


def _without_unsigned(message: Json) -> Json | None:
    """Return a message without the thinking that we sent unsigned, or None if there is nothing else in it.

    Anthropic accepts no thinking without its signature, and no empty message.
    """
    content = message.get("content")
    if not isinstance(content, list):
        return message
    parts = [part for part in content if not _is_unsigned(part)]
    return {**message, "content": parts} if parts or not content else None


def _is_unsigned(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "thinking" and not part.get("signature")
