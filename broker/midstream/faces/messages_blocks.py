"""The content blocks of an Anthropic message as they grow: immutable, so that a replay can begin from any of them."""

from dataclasses import dataclass
from typing import Any, Literal

import orjson

from midstream.faces.rope import Rope, text_of
from midstream.log.entries import Json

Kind = Literal["text", "thinking", "redacted_thinking", "tool_use"]


@dataclass(frozen=True, slots=True)
class Block:
    """A content block that has been started.

    Attributes:
        content: Its text, its thinking, the JSON text of a tool call's input, or the cipher of redacted thinking.
        signature: Of thinking: Anthropic takes the thinking back only with it.
        open: Whether its `content_block_stop` is still to come.
    """

    kind: Kind
    index: int
    call_id: str = ""
    name: str = ""
    content: Rope = None
    signature: str = ""
    open: bool = True

    def as_json(self) -> Json:
        """Return the block as it stands in a message."""
        content = text_of(self.content)
        match self.kind:
            case "text":
                return {"type": "text", "text": content, "citations": []}
            case "thinking":
                return {"type": "thinking", "thinking": content, "signature": self.signature}
            case "redacted_thinking":
                return {"type": "redacted_thinking", "data": content}
            case "tool_use":
                call = {"id": self.call_id, "name": self.name, "input": _input(content)}
                return {"type": "tool_use", **call, "caller": {"type": "direct"}}


def _input(arguments: str) -> Any:
    try:
        return orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError:  # the model broke off in the middle of the call
        return {"text": arguments}
