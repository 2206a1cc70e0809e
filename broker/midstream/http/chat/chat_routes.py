"""`POST /v1/chat/completions` (PROTOCOL: Faces/Doors)."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from midstream.faces.chat import ChatFace, citation, finish_reason
from midstream.faces.token_usage import chat_usage
from midstream.http.auth import AHouse, ATenant
from midstream.http.native.stream_routes import JSON
from midstream.http.peers import deliveries, dialect
from midstream.http.peers.dialect import Json
from midstream.http.peers.noted_route import NotedRoute
from midstream.http.peers.unsupported import refuse_for_chat
from midstream.service import streams
from midstream.service.answers import Answer

router = APIRouter(tags=["OpenAI"], route_class=NotedRoute)


class StreamOptions(BaseModel):
    """How the stream is written."""

    include_usage: bool | None = None


class ChatRequest(BaseModel):
    """The body of a chat completion; what is not named here is the provider's to judge."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(max_length=200)
    messages: list[dict[str, Any]] = Field(min_length=1)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    n: int | None = None
    modalities: list[str] | None = None
    tools: list[dict[str, Any]] | None = None

    @property
    def params(self) -> Json:
        """What is passed on to the provider."""
        named = {"store", "n", "modalities", "tools", "metadata"}
        return {**(self.model_extra or {}), **self.model_dump(include=named, exclude_none=True)}


@router.post("/v1/chat/completions", response_class=Response)
async def create_completion(body: ChatRequest, request: Request, house: AHouse, tenant: ATenant) -> Response:
    """Complete a chat, durably: `Stream-Id` is the stream to come back to."""
    refuse_for_chat(body.params)
    wanted = dialect.generation(
        model=dialect.model_of(body.model, "openai", house.settings),
        messages=body.messages,
        params=body.params,
        metadata=body.metadata or {},
    )
    stream_id = await dialect.start(request, house, tenant, wanted, {"face": "chat", "model": body.model})
    state = await streams.find(house, tenant, stream_id)
    usage = bool(body.stream_options and body.stream_options.include_usage)
    face = ChatFace(stream_id, state.created_ms, body.model, usage)
    if body.stream:
        return await dialect.streamed(house, tenant, stream_id, face, request=request)
    if await dialect.end_of(request, house, tenant, stream_id) is None:
        return Response(status_code=deliveries.CLIENT_GONE)
    said = await dialect.completed(house, stream_id)
    return JSON(_completion(face, said), headers={"Stream-Id": stream_id})


def _completion(face: ChatFace, said: Answer) -> Json:
    message: Json = {
        "role": "assistant",
        "content": said.text or None,
        "refusal": said.refusal or None,
        "annotations": [citation(source) for source in said.sources],
    }
    if said.reasoning:
        message["reasoning_content"] = said.reasoning
    if said.calls:
        message["tool_calls"] = [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": call["arguments"]},
            }
            for call in said.calls
        ]
    end = said.end or {}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason(end)}
    return {**face.head(), "choices": [choice], "usage": chat_usage(end.get("usage"))}
