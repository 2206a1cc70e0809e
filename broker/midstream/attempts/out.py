"""What a program writes to its stream with: a method for each type of entry (PROTOCOL: Produce/Items)."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import orjson

from midstream.attempts.delta import Delta, Other, Reasoning, Text, ToolCall, ToolInput, Usage
from midstream.log.entries import DATA, FILE, SOURCE, TOOL_RESULT


class Out(ABC):
    """Appends to one stream. Each method raises as `write`."""

    @abstractmethod
    async def write(self, item: str | Delta) -> None:
        """Append what an app could yield: a text, or a delta.

        Raises:
            UnfitItemError: It cannot become an entry; nothing of it was appended.
        """

    async def text(self, piece: str) -> None:
        """Append a piece of the answer."""
        await self.write(Text(piece))

    async def reasoning(self, piece: str) -> None:
        """Append a piece of visible reasoning."""
        await self.write(Reasoning(piece))

    async def tool_input(self, call_id: str, name: str, piece: str) -> None:
        """Append a fragment of a call's JSON arguments."""
        await self.write(ToolInput(call_id, name, piece))

    async def tool_call(self, call_id: str, name: str, arguments: str | Mapping[str, Any]) -> None:
        """Append a call of a tool with all its arguments, an object or its JSON text."""
        text = arguments if isinstance(arguments, str) else orjson.dumps(dict(arguments)).decode()
        await self.write(ToolCall(call_id, name, text))

    async def tool_result(self, call_id: str, output: Any, **more: Any) -> None:
        """Append what a tool returned, anything that JSON can hold."""
        await self.write(Other(TOOL_RESULT, {"id": call_id, "output": output, **more}))

    async def source(self, **fields: Any) -> None:
        """Append a source, for example with `url` and `title`."""
        await self.write(Other(SOURCE, fields))

    async def file(self, **fields: Any) -> None:
        """Append a file, for example with `url` and `media_type`."""
        await self.write(Other(FILE, fields))

    async def data(self, kind: str, **fields: Any) -> None:
        """Append data of your own kind."""
        await self.write(Other(DATA, {"kind": kind, **fields}))

    async def usage(self, input_tokens: int, output_tokens: int, **details: Any) -> None:
        """Append the tokens that were used."""
        await self.write(Usage(input_tokens, output_tokens, details))
