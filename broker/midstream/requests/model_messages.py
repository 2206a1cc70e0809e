"""What a stream's entries are as chat messages: the model's text and calls, and the results of its tools."""

from dataclasses import dataclass, field
from typing import Any

import orjson

from midstream.log.entries import (
    DATA,
    REASONING,
    RESET,
    TEXT,
    TOOL_CALL,
    TOOL_RESULT,
    Entry,
    Json,
    Stored,
    call_of,
    decode,
)
from midstream.requests.conversation import MODEL


@dataclass(slots=True)
class _Message:
    """A message of the model's; the results of its calls stand right after it, however late they come."""

    offset: int = 0
    texts: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    calls: dict[str, Json] = field(default_factory=dict)
    results: list[Json] = field(default_factory=list)

    def as_messages(self) -> list[Json]:
        message: Json = {"role": MODEL, "content": "".join(self.texts) or None}
        others = {
            "reasoning": "".join(self.reasoning),
            "refusal": "".join(self.refusals),
            "tool_calls": list(self.calls.values()),
        }
        message |= {name: value for name, value in others.items() if value}
        return [message | {"offset": self.offset}, *self.results]


class ModelMessages:
    """Folds a stream's entries, in order. It does no I/O: the same entries give the same messages.

    Attributes:
        tail: The last offset that it was given.
    """

    def __init__(self) -> None:
        self.tail = 0
        self._messages: list[_Message] = []

    def add(self, stored: Stored) -> None:
        """Take the next entry into account.

        Raises:
            ValueError: The bytes are not a stored entry; the log was written by something else.
        """
        entry = decode(stored.content, stored.offset, stored.epoch)
        self.tail = entry.offset
        if entry.type == TEXT:
            self._open(entry).texts.append(entry.text)
        elif entry.type == REASONING:
            self._open(entry).reasoning.append(entry.text)
        elif entry.type == DATA and entry.data.get("kind") == "refusal":
            self._open(entry).refusals.append(str(entry.data.get("text", "")))
        elif entry.type == TOOL_CALL:
            call = call_of(entry)
            function = {"name": call.name, "arguments": call.piece}
            self._open(entry).calls[call.id] = {"id": call.id, "type": "function", "function": function}
        elif entry.type == TOOL_RESULT:
            self._add_result(entry)
        elif entry.type == RESET:
            self._messages.clear()

    def messages(self) -> list[Json]:
        """Return the messages so far; each has the `offset` of the last entry that it is made of."""
        return [message for each in self._messages for message in each.as_messages()]

    def _open(self, entry: Entry) -> _Message:
        """Return the message that an entry belongs to: after the first result a new one begins."""
        if not self._messages or self._messages[-1].results:
            self._messages.append(_Message())
        self._messages[-1].offset = entry.offset
        return self._messages[-1]

    def _add_result(self, entry: Entry) -> None:
        """Put a result after the message with its call. One without a call is in no conversation."""
        data = entry.data
        call_id = str(data.get("tool_call_id") or data.get("call_id") or data.get("id") or "")
        of = next((each for each in reversed(self._messages) if call_id in each.calls), None)
        if of is not None:
            failed = data.get("error") is not None
            content = f"Error: {_text(data['error'])}" if failed else _text(data.get("output"))
            of.results.append({"role": "tool", "tool_call_id": call_id, "content": content, "offset": entry.offset})


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
