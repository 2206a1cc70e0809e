"""The body of `POST /api/chat`: UI messages, and the generation that they ask for."""

import hashlib
from collections.abc import Iterator
from typing import Any, Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

from midstream.log.entries import Json
from midstream.requests.request import Chunking, GenerationRequest, RetryPolicy, WorkerLossPolicy

MESSAGE_ID: Final = "ui_message_id"
"""The name in a stream's metadata of the id of the assistant message that it continues."""
MAX_MESSAGE_ID_CHARS: Final = 200
_ANSWERED: Final = ("output-available", "output-error", "output-denied")


class ChatRequest(BaseModel):
    """A request of `useChat`. Fields that the app adds are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str = Field(min_length=1, max_length=200, description="The id of the chat.")
    messages: list[dict[str, Any]] = Field(min_length=1, description="The chat's UI messages.")
    trigger: Literal["submit-message", "regenerate-message"] = "submit-message"
    message_id: str | None = Field(
        default=None, alias="messageId", description="The message that is regenerated or replaced."
    )
    model: str | None = Field(
        default=None, max_length=200, description="`provider/name`. Without it the broker's default model is used."
    )
    system: str | None = Field(default=None, description="Instructions before the messages.")
    params: dict[str, Any] = Field(default_factory=dict, description="Parameters that are passed on to the provider.")
    chunking: Chunking = Chunking()
    on_worker_loss: WorkerLossPolicy = "auto"
    retry: RetryPolicy = "safe"
    idle_timeout_s: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="Longest silence of the source, in seconds."
    )
    generation_timeout_s: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="Longest time of the whole generation, in seconds."
    )
    ttl_s: int | None = Field(
        default=None, ge=1, le=31_536_000, description="How long the stream is kept after its end, in seconds."
    )

    @property
    def regenerates(self) -> bool:
        """Whether the last answer is asked for once more."""
        return self.trigger == "regenerate-message"

    @property
    def digest(self) -> str:
        """What equal requests have in common."""
        newer = {"chunking": {"mode"}} if self.chunking.mode is None else None  # absent before it was a field
        body = self.model_dump(mode="json", by_alias=True, exclude=newer)
        return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()

    def generation(self) -> GenerationRequest:
        """Return the generation that is asked for.

        Raises:
            pydantic.ValidationError: There is nothing in the messages that a model could answer.
        """
        messages = self.messages
        while self.regenerates and messages and messages[-1].get("role") == "assistant":
            messages = messages[:-1]
        last = messages[-1] if messages else {}
        continued = str(last.get("id") or "") if last.get("role") == "assistant" else ""
        instructions = [{"role": "system", "content": self.system}] if self.system else []
        return GenerationRequest(
            model=self.model,
            messages=[*instructions, *(chat for message in messages for chat in _chat_messages(message))],
            params=self.params,
            chunking=self.chunking,
            on_worker_loss=self.on_worker_loss,
            retry=self.retry,
            thread=self.id,
            metadata={MESSAGE_ID: continued} if 0 < len(continued) <= MAX_MESSAGE_ID_CHARS else {},
            idle_timeout_s=self.idle_timeout_s,
            generation_timeout_s=self.generation_timeout_s,
            ttl_s=self.ttl_s,
        )


def _chat_messages(message: Json) -> Iterator[Json]:
    """Yield the chat messages that a UI message stands for; what a model cannot read is left out."""
    parts = [part for part in message.get("parts") or () if isinstance(part, dict)]
    role = message.get("role")
    if not parts and isinstance(message.get("content"), str):
        parts = [{"type": "text", "text": message["content"]}]
    if role == "assistant":
        yield from _assistant_messages(parts)
    elif role == "system":
        yield {"role": "system", "content": _text(parts)}
    elif files := [_file(part) for part in parts if part.get("type") == "file" and isinstance(part.get("url"), str)]:
        texts = [{"type": "text", "text": part["text"]} for part in parts if _is_text(part)]
        yield {"role": "user", "content": [*texts, *files]}
    elif text := _text(parts):
        yield {"role": "user", "content": text}


def _assistant_messages(parts: list[Json]) -> Iterator[Json]:
    """Yield a message and its tool results for each step: a step's results come before the next step's text."""
    steps: list[list[Json]] = [[]]
    for part in parts:
        if part.get("type") == "step-start":
            steps.append([])
        else:
            steps[-1].append(part)
    for step in steps:
        text = _text(step)
        tools = [part for part in step if _is_tool(part) and part.get("state") in _ANSWERED]
        if tools:
            yield {"role": "assistant", "content": text or None, "tool_calls": [_call(part) for part in tools]}
            yield from (_result(part) for part in tools)
        elif text:
            yield {"role": "assistant", "content": text}


def _is_text(part: Json) -> bool:
    return part.get("type") == "text" and isinstance(part.get("text"), str)


def _is_tool(part: Json) -> bool:
    kind = str(part.get("type"))
    return (kind == "dynamic-tool" or kind.startswith("tool-")) and isinstance(part.get("toolCallId"), str)


def _text(parts: list[Json]) -> str:
    return "".join(part["text"] for part in parts if _is_text(part))


def _file(part: Json) -> Json:
    if str(part.get("mediaType")).startswith("image/"):
        return {"type": "image_url", "image_url": {"url": part["url"]}}
    return {"type": "file", "file": {"file_data": part["url"], "filename": part.get("filename") or "file"}}


def _call(part: Json) -> Json:
    name = part.get("toolName") or str(part["type"]).removeprefix("tool-")
    arguments = part.get("input") if part.get("input") is not None else part.get("rawInput")
    written = arguments if isinstance(arguments, str) else orjson.dumps(arguments or {}).decode()
    return {"id": part["toolCallId"], "type": "function", "function": {"name": name, "arguments": written}}


def _result(part: Json) -> Json:
    output = part.get("output")
    if part["state"] != "output-available":
        output = part.get("errorText") or "The user did not allow this call."
    written = output if isinstance(output, str) else orjson.dumps(output).decode()
    return {"role": "tool", "tool_call_id": part["toolCallId"], "content": written}
