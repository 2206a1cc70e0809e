"""Reads the messages of three dialects (chat completions, Responses, Anthropic) into one shape, the turn.

A client may speak chat completions to us while the model is Anthropic's: each source of a worker writes its own
dialect from these turns, and the Responses endpoint lists them as items. A part of a message, or an item without a
role, that no shape here fits stays as it came, and the provider judges it. A message whose `content` is neither text
nor a list of parts is a turn without parts.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from midstream.log.entries import Json


@dataclass(frozen=True, slots=True)
class PlainText:
    """A piece of text; `is_refusal` if the model wrote it in place of an answer."""

    text: str
    is_refusal: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """An image by its URL, which may be a `data:` URL; `detail` is how closely OpenAI is to look."""

    url: str
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class File:
    """A document, as a `data:` URL."""

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call that the model made; `arguments` is JSON text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Result:
    """The output of a tool call, and whether the tool failed."""

    call_id: str
    output: "tuple[PlainText | Image | File, ...]"
    is_error: bool = False

    @property
    def text(self) -> str | None:
        """The output, if it is nothing but text."""
        if all(isinstance(part, PlainText) for part in self.output):
            return "".join(part.text for part in self.output if isinstance(part, PlainText))
        return None

    @property
    def with_error_as_text(self) -> "Result":
        """The result for dialects that cannot mark a failure: the text begins with the word."""
        return Result(self.call_id, (PlainText("Error: "), *self.output)) if self.is_error else self


@dataclass(frozen=True, slots=True)
class Thought:
    """Anthropic's reasoning with its signature, as it came; no other provider accepts it."""

    part: Json


@dataclass(frozen=True, slots=True)
class Raw:
    """A part that fits no other shape, as it came."""

    part: Json


Part = PlainText | Image | File | Call | Result | Thought | Raw


@dataclass(frozen=True, slots=True)
class Turn:
    """One message. The role is `system`, `user` or `assistant`; an item without a role has an empty one."""

    role: str
    parts: tuple[Part, ...]


_ROLES = {"developer": "system", "tool": "user", "function": "user"}


def turns(messages: Iterable[Json]) -> list[Turn]:
    """Read messages of any dialect, and items of Responses."""
    return [read_turn(message) for message in messages]


def read_turn(message: Json) -> Turn:
    """Read one message of any dialect, or one item of Responses."""
    match message:
        case {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}:
            return Turn("assistant", (Call(call_id, name, arguments),))
        case {"type": "function_call_output", "call_id": call_id, "output": output}:
            return Turn("user", (Result(call_id, _output(output)),))
        case {"type": "reasoning"}:  # only OpenAI itself can read it
            return Turn("assistant", ())
        case {"role": "tool", "tool_call_id": call_id}:
            return Turn("user", (Result(call_id, _output(message.get("content"))),))
        case {"role": str(role)}:
            content = message.get("content") or _refusal(message.get("refusal"))
            return Turn(_ROLES.get(role, role), (*_parts(content), *_calls(message.get("tool_calls"))))
    return Turn("", (Raw(message),))


def _parts(content: object) -> Iterator[Part]:
    if isinstance(content, str):
        if content:
            yield PlainText(content)
    elif isinstance(content, list):
        yield from (PlainText(part) if isinstance(part, str) else _part(part) for part in content)


def _refusal(text: object) -> list[Json] | None:
    return [{"type": "refusal", "refusal": text}] if isinstance(text, str) else None


def _part(part: Json) -> Part:
    if (image := _image(part)) is not None:
        return image
    match part:
        case {"type": "text" | "input_text" | "output_text", "text": str(text)}:
            return PlainText(text)
        case {"type": "refusal", "refusal": str(text)}:
            return PlainText(text, is_refusal=True)
        case {"type": "file", "file": {"file_data": str(url)} as file} | (
            {"type": "input_file", "file_data": str(url)} as file
        ) if url.startswith("data:"):
            return File(str(file.get("filename") or "file"), url)
        case {"type": "document", "source": {"type": "base64", "media_type": media_type, "data": data}}:
            return File(str(part.get("title") or "file"), f"data:{media_type};base64,{data}")
        case {"type": "tool_use", "id": str(call_id), "name": str(name), "input": arguments}:
            return Call(call_id, name, orjson.dumps(arguments).decode())
        case {"type": "tool_result", "tool_use_id": str(call_id)}:
            return Result(call_id, _output(part.get("content")), is_error=part.get("is_error") is True)
        case {"type": "thinking" | "redacted_thinking"}:
            return Thought(part)
    return Raw(part)


def _image(part: Json) -> Image | None:
    match part:
        case {"type": "image_url", "image_url": {"url": str(url)} as image}:
            return Image(url, _detail(image))
        case {"type": "input_image", "image_url": str(url)}:
            return Image(url, _detail(part))
        case {"type": "image", "source": {"type": "url", "url": str(url)}}:
            return Image(url)
        case {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}:
            return Image(f"data:{media_type};base64,{data}")
    return None


def _detail(image: Json) -> str | None:
    detail = image.get("detail")
    return detail if isinstance(detail, str) and detail != "auto" else None  # `auto` is the default everywhere


def _calls(calls: object) -> Iterator[Part]:
    for call in calls if isinstance(calls, list) else ():
        match call:
            case {"id": str(call_id), "function": {"name": str(name), "arguments": str(arguments)}}:
                yield Call(call_id, name, arguments)


def _output(output: object) -> tuple[PlainText | Image | File, ...]:
    """Return a tool's output as parts that every dialect has; anything else becomes its JSON as text."""
    if isinstance(output, list):
        return tuple(map(_output_part, output))
    return () if output is None else (_output_part(output),)


def _output_part(part: Any) -> PlainText | Image | File:
    read = PlainText(part) if isinstance(part, str) else _part(part)
    return read if isinstance(read, (PlainText, Image, File)) else PlainText(orjson.dumps(part).decode())
