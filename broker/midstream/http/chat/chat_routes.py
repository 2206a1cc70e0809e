"""`POST /v1/chat/completions` (PROTOCOL: Faces/Doors)."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from midstream.faces.chat import ChatFace, citation, finish_reason
from midstream.faces.token_usage import chat_usage
from midstream.http.auth import ACaller
from midstream.http.json_response import JsonResponse
from midstream.http.peers import deliveries, generations
from midstream.http.peers.headers_route import HeadersRoute
from midstream.http.peers.unsupported import refuse_for_chat
from midstream.log.answer import Answer
from midstream.log.entries import Json

router = APIRouter(tags=["OpenAI"], route_class=HeadersRoute)


class StreamOptions(BaseModel):
    """Options of the streamed answer."""

    include_usage: bool | None = None


class ChatRequest(BaseModel):
    """A chat completion to create. The provider judges fields that are not named here."""

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
async def create_completion(body: ChatRequest, request: Request, caller: ACaller) -> Response:
    """Complete a chat. Its stream is durable; the header `Stream-Id` names it."""
    refuse_for_chat(body.params)
    generation = generations.generation_request(
        model=generations.model_of(body.model, "openai", caller),
        messages=body.messages,
        params=body.params,
        metadata=body.metadata or {},
    )
    origin: Json = {"face": "chat", "model": body.model}
    stream = await generations.start(request, caller, generation, origin, tails=bool(body.stream))
    usage = bool(body.stream_options and body.stream_options.include_usage)
    face = ChatFace(stream.id, stream.state.created_ms, body.model, usage)
    if body.stream:
        return await generations.tail_new_stream(request, caller, stream, face)
    if not await generations.wait_for_end(request, caller, stream):
        return Response(status_code=deliveries.CLIENT_GONE)
    answer = await generations.completed_answer(stream)
    return JsonResponse(_completion(face, answer), headers={"Stream-Id": stream.id})


def _completion(face: ChatFace, answer: Answer) -> Json:
    message: Json = {
        "role": "assistant",
        "content": answer.text or None,
        "refusal": answer.refusal or None,
        "annotations": [citation(source) for source in answer.sources],
    }
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    if answer.tool_calls:
        message["tool_calls"] = [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": call["arguments"]},
            }
            for call in answer.tool_calls
        ]
    end = answer.end or {}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason(end)}
    return {**face.head(), "choices": [choice], "usage": chat_usage(end.get("usage"))}
