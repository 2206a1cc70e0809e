"""`POST /v1/messages` (PROTOCOL: Faces/Doors)."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from midstream.faces.messages import MessagesFace
from midstream.http.auth import AHouse, ATenant
from midstream.http.native.stream_routes import JSON
from midstream.http.peers import counting, deliveries, dialect
from midstream.http.peers.dialect import Json
from midstream.http.peers.noted_route import NotedRoute
from midstream.log.entries import RESET, decode
from midstream.requests.catalogue import split
from midstream.service import answers
from midstream.service.services import House

router = APIRouter(tags=["Anthropic"], route_class=NotedRoute)


class MessagesRequest(BaseModel):
    """The body of a message; what is not named here is the provider's to judge."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(max_length=200)
    messages: list[dict[str, Any]] = Field(min_length=1)
    max_tokens: int = Field(ge=1)
    system: str | list[dict[str, Any]] | None = None
    betas: list[str] | None = None
    stream: bool | None = None


class CountRequest(BaseModel):
    """What to count the tokens of; what is not named here is Anthropic's to judge."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(max_length=200)
    betas: list[str] | None = None


@router.post("/v1/messages", response_class=Response)
async def create_message(body: MessagesRequest, request: Request, house: AHouse, tenant: ATenant) -> Response:
    """Answer with a message, durably: `Stream-Id` is the stream to come back to."""
    model = dialect.model_of(body.model, "anthropic", house.settings)
    params = {**(body.model_extra or {}), "max_tokens": body.max_tokens}
    if betas := [*_betas(request), *(body.betas or ())]:
        params["betas"] = betas
    messages = [kept for message in body.messages if (kept := _without_unsigned(message)) is not None]
    if body.system and split(model)[0] == "anthropic":
        params["system"] = body.system  # as it is: its blocks may carry cache marks
    elif body.system:
        messages = [{"role": "system", "content": _plain(body.system)}, *messages]
    wanted = dialect.generation(model=model, messages=messages, params=params)
    stream_id = await dialect.start(request, house, tenant, wanted, {"face": "messages", "model": body.model})
    face = MessagesFace(stream_id, body.model)
    if body.stream:
        return await dialect.streamed(house, tenant, stream_id, face, request=request)
    if await dialect.end_of(request, house, tenant, stream_id) is None:
        return Response(status_code=deliveries.CLIENT_GONE)
    return JSON(await _whole(house, stream_id, face), headers={"Stream-Id": stream_id})


@router.post("/v1/messages/count_tokens", response_class=Response)
async def count_tokens(body: CountRequest, request: Request, house: AHouse, tenant: ATenant) -> Response:  # noqa: ARG001
    """Count a message's tokens, at Anthropic."""
    model = dialect.model_of(body.model, "anthropic", house.settings)
    asked = body.model_dump(exclude_unset=True, exclude={"model", "betas"})
    betas = [*_betas(request), *(body.betas or ())]
    return JSON(await counting.count(house.settings, "anthropic", model, asked, betas))


def _betas(request: Request) -> list[str]:
    """Return the trials of Anthropic's that a request takes part in; the SDKs name them in a header."""
    named = ",".join(request.headers.getlist("anthropic-beta"))
    return [beta for beta in map(str.strip, named.split(",")) if beta]


async def _whole(house: House, stream_id: str, face: MessagesFace) -> Json:
    """Return the message of an ended stream; behind a `reset` it is what came behind it.

    Raises:
        Problem: The stream did not complete; the status and code of its failure.
    """
    said = face.begin()
    async for row in answers.entries(house, stream_id):
        if decode(row.content, row.offset, row.epoch).type == RESET:
            said = face.begin()
        else:
            _, said = face.frame(row, said)
    dialect.refuse_failure(stream_id, said.end)
    return face.message(said)


def _plain(system: str | list[Json]) -> str:
    """Return a system prompt's text, without marks that mean something to Anthropic alone."""
    if isinstance(system, str):
        return system
    return "\n\n".join(str(block.get("text", "")) for block in system)


def _without_unsigned(message: Json) -> Json | None:
    """Return a message without thinking that we sent unsigned, or None if there is nothing else in it.

    Anthropic takes back no thinking without its signature, and no empty message.
    """
    content = message.get("content")
    if not isinstance(content, list):
        return message
    kept = [part for part in content if not _is_unsigned(part)]
    return {**message, "content": kept} if kept or not content else None


def _is_unsigned(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "thinking" and not part.get("signature")
