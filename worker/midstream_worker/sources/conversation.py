"""Reads chat messages of any dialect into one shape, so that a prompt fits whichever provider it goes to.

A client may speak chat completions to us while the model is Anthropic's. Each source writes its own dialect
from these turns. What is not known here is passed on as it came, and the provider judges it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from midstream.log.entries import Json


@dataclass(frozen=True, slots=True)
class Words:
    """A piece of plain text."""

    text: str


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
    """What a tool call gave, and whether that was an error."""

    call_id: str
    output: "tuple[Words | Image | File, ...]"
    is_error: bool = False

    @property
    def text(self) -> str | None:
        """The output, if it is nothing but text."""
        if all(isinstance(part, Words) for part in self.output):
            return "".join(part.text for part in self.output if isinstance(part, Words))
        return None

    @property
    def told(self) -> "Result":
        """The result for dialects that have no mark for an error: it is said in words."""
        return Result(self.call_id, (Words("Error: "), *self.output)) if self.is_error else self


@dataclass(frozen=True, slots=True)
class Thought:
    """Anthropic's reasoning with its signature, as it came: nobody else takes it."""

    part: Json


@dataclass(frozen=True, slots=True)
class Raw:
    """A part that no other shape fits, as it came."""

    part: Json


Part = Words | Image | File | Call | Result | Thought | Raw


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side said; the role is `system`, `user` or `assistant`, or empty for an item without one."""

    role: str
    parts: tuple[Part, ...]


# What the dialects, and our own answers, say of a message. SDKs send an answer back as the next turn's history.
_SAID_OF_MESSAGES = frozenset(
    (
        *("role", "content", "type", "id", "status", "phase", "name", "refusal", "annotations", "parsed"),
        *("audio", "function_call", "tool_calls", "tool_call_id", "reasoning", "reasoning_content"),
        *("model", "stop_reason", "stop_sequence", "usage"),
    )
)
_ROLES = {"developer": "system", "tool": "user", "function": "user"}


def turns(messages: Iterable[Json]) -> list[Turn]:
    """Read messages of chat completions, Responses (also its items) or Anthropic."""
    return [_turn(message) for message in messages]


def only(message: Json, taken: Iterable[str]) -> Json:
    """Return a message without what other dialects say of one and this one refuses.

    What no dialect is known to say stays: the provider judges it.
    """
    return {
        name: value
        for name, value in message.items()
        if name == "content" or (name in taken and value is not None) or name not in _SAID_OF_MESSAGES
    }


def is_plain(message: Json, part_types: frozenset[str]) -> bool:
    """Tell whether a message's content is text or parts of these types only, with nothing beside it to convert."""
    content = message.get("content")
    if "tool_calls" in message or "tool_call_id" in message:
        return False
    return isinstance(content, str) or (
        isinstance(content, list) and all(isinstance(part, dict) and part.get("type") in part_types for part in content)
    )


def _turn(message: Json) -> Turn:
    match message:
        case {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}:
            return Turn("assistant", (Call(call_id, name, arguments),))
        case {"type": "function_call_output", "call_id": call_id, "output": output}:
            return Turn("user", (Result(call_id, _output(output)),))
        case {"type": "reasoning"}:  # OpenAI's own, and none of anybody else's business
            return Turn("assistant", ())
        case {"role": "tool", "tool_call_id": call_id}:
            return Turn("user", (Result(call_id, _output(message.get("content"))),))
        case {"role": str(role)}:
            spoken = message.get("content") or message.get("refusal")
            parts = (*_parts(spoken), *_calls(message.get("tool_calls")))
            return Turn(_ROLES.get(role, role), parts)
    return Turn("", (Raw(message),))


def _parts(content: object) -> Iterator[Part]:
    if isinstance(content, str):
        if content:
            yield Words(content)
    elif isinstance(content, list):
        yield from (Words(part) if isinstance(part, str) else _part(part) for part in content)


def _part(part: Json) -> Part:
    if (image := _image(part)) is not None:
        return image
    match part:
        case {"type": "text" | "input_text" | "output_text", "text": str(text)} | {"type": "refusal", "refusal": text}:
            return Words(text)
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
    return detail if isinstance(detail, str) and detail != "auto" else None  # what nobody said is `auto`


def _calls(calls: object) -> Iterator[Part]:
    for call in calls if isinstance(calls, list) else ():
        match call:
            case {"id": str(call_id), "function": {"name": str(name), "arguments": str(arguments)}}:
                yield Call(call_id, name, arguments)


def _output(output: object) -> tuple[Words | Image | File, ...]:
    """Return what a tool gave as parts that every provider has a place for; anything else as its JSON."""
    if isinstance(output, list):
        return tuple(map(_shown, output))
    return () if output is None else (_shown(output),)


def _shown(part: Any) -> Words | Image | File:
    read = Words(part) if isinstance(part, str) else _part(part)
    return read if isinstance(read, (Words, Image, File)) else Words(orjson.dumps(part).decode())


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call; `schema` is the JSON Schema of its arguments."""

    name: str
    schema: Json
    description: str | None = None
    strict: bool | None = None


def tool(definition: Json) -> Tool | None:
    """Read a function tool of any dialect; `None` for a tool that runs at the provider (web search and such)."""
    match definition:
        case {"type": "function", "function": {"name": str(name)} as function}:
            described: Json = function
        case {"type": "function", "name": str(name)}:
            described = definition
        case {"name": str(name), "input_schema": dict(schema)}:
            described = {**definition, "parameters": schema}
        case _:
            return None
    schema = described.get("parameters") or _NO_ARGUMENTS
    return Tool(name, schema, described.get("description"), described.get("strict"))


_NO_ARGUMENTS: Json = {"type": "object", "properties": {}}

_CHOICES: Mapping[str, str] = {"auto": "auto", "none": "none", "required": "required", "any": "required"}


def tool_choice(choice: object) -> tuple[str, str | None]:
    """Read a tool choice of any dialect: (`auto` | `none` | `required` | `named`, name); `""` if it is another's."""
    match choice:
        case str(word) | {"type": "auto" | "none" | "any" as word}:
            return _CHOICES.get(word, ""), None
        case {"type": "function", "function": {"name": str(name)}} | {"type": "function" | "tool", "name": str(name)}:
            return "named", name
    return "", None


def allowed_tools(choice: object) -> tuple[str, list[object]] | None:
    """Read a choice among some of the tools, of either dialect of OpenAI: (`auto` | `required`, those tools)."""
    match choice:
        case {"type": "allowed_tools", "allowed_tools": {"mode": str(mode), "tools": list(tools)}} | {
            "type": "allowed_tools",
            "mode": str(mode),
            "tools": list(tools),
        }:
            return mode, tools
    return None


def only_allowed(params: Json) -> Json:
    """Return params that offer the allowed tools alone, for providers that know no such choice.

    Where one of them is not among the tools, params stay as they are, and the provider refuses them.
    """
    found, offered = allowed_tools(params.get("tool_choice")), params.get("tools")
    if found is None or not isinstance(offered, list):
        return params
    mode, allowed = found
    wanted = [_reference(named) for named in allowed]
    known = [_reference(definition) for definition in offered]
    if not wanted or any(reference not in known for reference in wanted):
        return params
    kept = [definition for definition, reference in zip(offered, known, strict=True) if reference in wanted]
    return {**params, "tools": kept, "tool_choice": mode}


def _reference(definition: object) -> object:
    """Return what tells a tool from others: a function's name; of a provider's own tool, its type and server."""
    match definition:
        case {"function": {"name": str(name)}} | {"name": str(name)}:
            return name
        case {"type": kind, **further}:
            return kind, further.get("server_label")
    return definition
