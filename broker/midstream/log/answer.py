"""What a stream has answered so far: the plain fold over its entries, for brokers and workers alike."""

from dataclasses import dataclass, field

from midstream.log.entries import DATA, END, REASONING, RESET, SOURCE, TEXT, TOOL_CALL, Json, Stored, call_of, decode


@dataclass(slots=True)
class Answer:
    """The content of the entries after the last `reset`. It does no I/O: the same entries give the same answer.

    Attributes:
        tool_calls: The data of each `tool_call` entry.
        sources: The data of each `source` entry.
        end: The data of the terminal entry; None as long as there is none.
    """

    tool_calls: list[Json] = field(default_factory=list)
    sources: list[Json] = field(default_factory=list)
    end: Json | None = None
    _texts: list[str] = field(default_factory=list)
    _reasoning: list[str] = field(default_factory=list)
    _refusals: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The text of the answer."""
        return "".join(self._texts)

    @property
    def reasoning(self) -> str:
        """The reasoning that the model showed."""
        return "".join(self._reasoning)

    @property
    def refusal(self) -> str:
        """What the model gave as its reason not to answer; empty where it did not refuse."""
        return "".join(self._refusals)

    def add(self, stored: Stored) -> None:
        """Take the stream's next entry into account.

        Raises:
            ValueError: The bytes are not a stored entry; the log was written by something else.
        """
        entry = decode(stored.content, stored.offset, stored.epoch)
        if entry.type == TEXT:
            self._texts.append(entry.text)
        elif entry.type == REASONING:
            self._reasoning.append(entry.text)
        elif entry.type == TOOL_CALL:
            call = call_of(entry)
            self.tool_calls.append({**entry.data, "id": call.id, "name": call.name, "arguments": call.piece})
        elif entry.type == SOURCE:
            self.sources.append(entry.data)
        elif entry.type == DATA and entry.data.get("kind") == "refusal":
            self._refusals.append(str(entry.data["text"]))
        elif entry.type == RESET:
            self._forget()
        elif entry.type == END:
            self.end = entry.data

    def _forget(self) -> None:
        for pieces in (self._texts, self._reasoning, self._refusals, self.tool_calls, self.sources):
            pieces.clear()
