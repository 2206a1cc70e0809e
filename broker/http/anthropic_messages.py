"""`POST /v1/messages` (PROTOCOL: Faces/Messages)."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from broker.faces.messages import MessagesFace, blocks_of, stop_reason
from broker.http import dialect
from broker.http.auth import AHouse, ATenant
from broker.http.dialect import Json
from broker.http.streams import JSON
from broker.models import split

router = APIRouter(tags=["Anthropic"])


class MessagesRequest(BaseModel):
    """The body of a message; what is not named here is the provider's to judge."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(max_length=200)
    messages: list[dict[str, Any]] = Field(min_length=1)
    max_tokens: int = Field(ge=1)
    system: str | list[dict[str, Any]] | None = None
    stream: bool | None = None


@router.post("/v1/messages", response_class=Response)
async def create_message(body: MessagesRequest, request: Request, house: AHouse, tenant: ATenant) -> Response:
    """Answer with a message, durably: `Stream-Id` is the stream to come back to."""
    model = dialect.model_of(body.model, "anthropic", house.settings)
    params = {**(body.model_extra or {}), "max_tokens": body.max_tokens}
    messages = [_without_unsigned(message) for message in body.messages]
    if body.system and split(model)[0] == "anthropic":
        params["system"] = body.system  # as it is: its blocks may carry cache marks
    elif body.system:
        messages = [{"role": "system", "content": _plain(body.system)}, *messages]
    wanted = dialect.generation(model=model, messages=messages, params=params)
    stream_id = await dialect.start(request, house, tenant, wanted, {"face": "messages", "model": body.model})
    face = MessagesFace(stream_id, body.model)
    if body.stream:
        return await dialect.streamed(house, tenant, stream_id, face)
    if await dialect.end_of(request, house, tenant, stream_id) is None:
        return Response(status_code=dialect.CLIENT_GONE)
    said = await dialect.completed(house, stream_id)
    end = said.end or {}
    content = list(blocks_of(said.text + said.refusal, said.reasoning, said.calls))
    return JSON(face.message(content, stop_reason(end), end.get("usage")), headers={"Stream-Id": stream_id})


def _plain(system: str | list[Json]) -> str:
    """Return a system prompt's text, without marks that mean something to Anthropic alone."""
    if isinstance(system, str):
        return system
    return "\n\n".join(str(block.get("text", "")) for block in system)


def _without_unsigned(message: Json) -> Json:
    """Return a message without thinking that we sent unsigned: Anthropic takes back none without its signature."""
    content = message.get("content")
    if not isinstance(content, list):
        return message
    kept = [part for part in content if part.get("type") != "thinking" or part.get("signature")]
    return {**message, "content": kept}
