"""The content blocks of an Anthropic message as they grow: immutable, so that a replay can begin from any of them."""

from dataclasses import dataclass
from typing import Any, Literal

import orjson

from midstream.faces.rope import Rope, text_of

Json = dict[str, Any]
Kind = Literal["text", "thinking", "redacted_thinking", "tool_use"]


@dataclass(frozen=True, slots=True)
class Block:
    """A content block that was begun.

    Attributes:
        content: Its text, its thinking, or the JSON text of a tool call's input.
        seal: What Anthropic wants back with it: the signature of thinking, the cipher of redacted thinking.
        open: Whether its `content_block_stop` is still to come.
    """

    kind: Kind
    index: int
    call_id: str = ""
    name: str = ""
    content: Rope = None
    seal: str = ""
    open: bool = True

    def shown(self) -> Json:
        """Return the block as JSON."""
        content = text_of(self.content)
        match self.kind:
            case "text":
                return {"type": "text", "text": content, "citations": []}
            case "thinking":
                return {"type": "thinking", "thinking": content, "signature": self.seal}
            case "redacted_thinking":
                return {"type": "redacted_thinking", "data": self.seal}
            case "tool_use":
                call = {"id": self.call_id, "name": self.name, "input": _input(content)}
                return {"type": "tool_use", **call, "caller": {"type": "direct"}}


@dataclass(frozen=True, slots=True)
class Said:
    """What a message has said so far.

    Attributes:
        begun: Whether its start is out.
        blocks: Its content.
        stop_sequence: The stop sequence that ended it.
        end: The data of the `end` entry once it has come.
        over: Whether nothing more is said: the end or an error is out.
    """

    begun: bool = False
    blocks: tuple[Block, ...] = ()
    stop_sequence: str | None = None
    end: Json | None = None
    over: bool = False


def _input(arguments: str) -> Any:
    try:
        return orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError:  # a call that the model cut off
        return {"text": arguments}
