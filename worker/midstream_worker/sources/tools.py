"""Reads the tools of a request, and how the model is to choose among them, in any dialect."""

from collections.abc import Mapping
from dataclasses import dataclass

from midstream.log.entries import Json


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call; `schema` is the JSON Schema of its arguments."""

    name: str
    schema: Json
    description: str | None = None
    strict: bool | None = None


def read_tool(definition: Json) -> Tool | None:
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


def read_tool_choice(choice: object) -> tuple[str, str | None]:
    """Read a tool choice of any dialect: (`auto` | `none` | `required` | `named`, name), or `""` for any other."""
    match choice:
        case str(word) | {"type": "auto" | "none" | "any" as word}:
            return _CHOICES.get(word, ""), None
        case {"type": "function", "function": {"name": str(name)}} | {"type": "function" | "tool", "name": str(name)}:
            return "named", name
    return "", None


def read_allowed_tools(choice: object) -> tuple[str, list[object]] | None:
    """Read a choice that allows some of the tools, in either dialect of OpenAI: (`auto` | `required`, those tools)."""
    match choice:
        case {"type": "allowed_tools", "allowed_tools": {"mode": str(mode), "tools": list(tools)}} | {
            "type": "allowed_tools",
            "mode": str(mode),
            "tools": list(tools),
        }:
            return mode, tools
    return None


def only_allowed(params: Json) -> Json:
    """Return params that offer only the allowed tools, for providers that have no such choice.

    If one of them is not among the tools, params stay as they are, and the provider refuses them.
    """
    choice, offered = read_allowed_tools(params.get("tool_choice")), params.get("tools")
    if choice is None or not isinstance(offered, list):
        return params
    mode, tools = choice
    allowed = [_reference(named) for named in tools]
    references = [_reference(definition) for definition in offered]
    if not allowed or any(reference not in references for reference in allowed):
        return params
    kept = [definition for definition, reference in zip(offered, references, strict=True) if reference in allowed]
    return {**params, "tools": kept, "tool_choice": mode}


def _reference(definition: object) -> object:
    """Return what identifies a tool: a function's name; of a provider's own tool, its type and server."""
    match definition:
        case {"function": {"name": str(name)}} | {"name": str(name)}:
            return name
        case {"type": kind, **further}:
            return kind, further.get("server_label")
    return definition
