"""What is sent of a conversation that goes on: as much of its end as a budget permits (PROTOCOL: Threads/Continue)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import orjson

from midstream.log.entries import Json
from midstream.requests.conversation import MODEL
from midstream.requests.request import UnfitRequestError
from midstream.requests.turns import Result, read_turn


class TrimError(UnfitRequestError):
    """What must be sent exceeds the budget."""

    at = "trim"


class NoTokenizerError(UnfitRequestError):
    """The start has a budget of tokens, and this broker cannot count any."""

    at = "trim.max_tokens"


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may be sent: messages (None: any number), and characters of their JSON.

    Attributes:
        tokens: Tokens of their JSON, too; None: any number.
        tokens_of: Counts the tokens of a text; called only where `tokens` is a number.
    """

    messages: int | None
    chars: int
    tokens: int | None = None
    tokens_of: Callable[[str], int] = len

    def permits(self, messages: int, chars: int, tokens: int = 0) -> bool:
        """Tell whether so many messages of so many characters and tokens in all are within the budget."""
        return (
            (self.messages is None or messages <= self.messages)
            and chars <= self.chars
            and (self.tokens is None or tokens <= self.tokens)
        )

    def measure(self, messages: Sequence[Json]) -> tuple[int, int]:
        """Return the characters and tokens of messages as JSON.

        No tokens are counted where they have no limit, or where the characters alone exceed theirs.
        """
        texts = [orjson.dumps(message).decode() for message in messages]
        chars = sum(map(len, texts))
        is_counted = self.tokens is not None and chars <= self.chars
        return chars, sum(map(self.tokens_of, texts)) if is_counted else 0


@dataclass(slots=True)
class _Unit:
    """Messages that are sent together or not at all: a message with calls, and the results of these calls."""

    messages: list[Json] = field(default_factory=list)
    is_new: bool = False

    @property
    def may_be_first(self) -> bool:
        turn = read_turn(self.messages[0])
        return self.is_new or (turn.role == "user" and not any(isinstance(part, Result) for part in turn.parts))


def chars_of(messages: Sequence[Json]) -> int:
    """Return the characters of messages as JSON."""
    return sum(len(orjson.dumps(message).decode()) for message in messages)


def continued(system: Sequence[Json], history: Sequence[Json], new: Sequence[Json], budget: Budget) -> list[Json]:
    """Return the system messages, the end of a history that fits, and the new messages, all of which are sent.

    Calls without results, and results without calls, are left out of the history. What is left of it begins with a
    message of the user's.

    Raises:
        TrimError: What must be sent does not fit.
    """
    units = _units(history, new)
    kept = [unit for unit in units if unit.is_new]
    sent = [*system, *(message for unit in kept for message in unit.messages)]
    sent_messages, (sent_chars, sent_tokens) = len(sent), budget.measure(sent)
    if not budget.permits(sent_messages, sent_chars, sent_tokens):
        counted = "" if budget.tokens is None else f" and {sent_tokens} tokens"
        permitted = "" if budget.tokens is None else f" and {budget.tokens}"
        raise TrimError(
            f"Without any history {sent_messages} messages of {sent_chars} characters{counted} are to be sent. "
            f"Permitted are {budget.messages or 'any number'} of {budget.chars}{permitted} "
            "(`trim`, MIDSTREAM_THREAD_CONTEXT_CHARS)."
        )
    older: list[_Unit] = []
    for unit in reversed([unit for unit in units if not unit.is_new]):
        sent_messages += len(unit.messages)
        chars, tokens = budget.measure(unit.messages)
        sent_chars += chars
        sent_tokens += tokens
        if not budget.permits(sent_messages, sent_chars, sent_tokens):
            break
        older.append(unit)
    kept = [*reversed(older), *kept]
    while kept and not kept[0].may_be_first:
        kept.pop(0)
    return [*system, *(message for unit in kept for message in unit.messages)]


def _units(history: Sequence[Json], new: Sequence[Json]) -> list[_Unit]:
    units: list[_Unit] = []
    open_ids: set[str] = set()  # of the calls of the last message
    for at, message in enumerate([*history, *new]):
        is_new = at >= len(history)
        ids = _result_ids(message)
        if ids and ids <= open_ids:
            units[-1].messages.append(message)
            units[-1].is_new |= is_new
        elif is_new or not ids:
            units.append(_Unit([message], is_new))
            open_ids = set() if is_new else _call_ids(message)
    return [each for unit in units if (each := _with_answered_calls(unit)).messages]


def _call_ids(message: Json) -> set[str]:
    """Return the ids of the calls of a message of the history; those of the model's are well-formed there."""
    return {call["id"] for call in message.get("tool_calls", ())} if message.get("role") == MODEL else set()


def _result_ids(message: Json) -> set[str]:
    """Return the ids of the results in a message as text; what a client wrote that is no text answers no call."""
    return {str(part.call_id) for part in read_turn(message).parts if isinstance(part, Result)}


def _with_answered_calls(unit: _Unit) -> _Unit:
    first, *results = unit.messages
    if unit.is_new and not results:
        return unit  # it is sent as the client wrote it
    calls = _call_ids(first)
    answered = {each for message in results for each in _result_ids(message)}
    if not calls or calls == answered:
        return unit
    left = [call for call in first["tool_calls"] if call["id"] in answered]
    bare = {name: value for name, value in first.items() if name != "tool_calls"}
    message = bare | ({"tool_calls": left} if left else {})
    return _Unit([message, *results] if left or bare.get("content") else results, unit.is_new)
