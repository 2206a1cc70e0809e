"""A source that needs no key: canned text at a readable pace, labelled as such."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Iterator
from typing import Any

from midstream.attempts.delta import (
    Delta,
    Finish,
    Reasoning,
    SourceError,
    Text,
    ToolCall,
    ToolInput,
    Usage,
)
from midstream_worker.sources.one_connection import OneConnection
from midstream_worker.sources.source import Prompt

LABEL = "[demo] This is canned text, no model was asked. "
MOST_WORDS = 100_000
LONGEST_DELAY_MS = 60_000

_STORY = (
    "A river ran past a mill, and the miller kept a book in which every leaf that floated by had a number. "
    "When the wind tore the book from the sill, she asked the river to wait. It did not. But the leaves had been "
    "counted once, and so she opened the book at the last number she had written and went on from there. "
    "Nobody downstream ever noticed that she had been away."
)
_THOUGHTS = "The question is a simple one. I shall look at it once more, and then answer. "
_STORY_WORDS = len(_STORY.split())
_COUNT_WORDS = 100


class Demo(OneConnection):
    """Yields canned text, a word at a time.

    The models are `story`, `count` (the numbers from 1), `reasoning` (thinks first) and `tools` (calls one).
    Params: `words`, how many of them; `delay_ms`, the pause before each.
    """

    paid = False

    def __init__(self, delay_ms: int) -> None:
        self._delay_ms = delay_ms

    async def open(self, prompt: Prompt) -> AsyncGenerator[Delta]:
        """Yield the model's canned deltas at their pace."""
        delay_ms = _bounded(prompt.params, "delay_ms", self._delay_ms, LONGEST_DELAY_MS)
        words = _bounded(prompt.params, "words", _COUNT_WORDS if prompt.model == "count" else _STORY_WORDS, MOST_WORDS)
        for delta in _script(prompt.model, words):
            await asyncio.sleep(delay_ms / 1_000)
            yield delta
        yield Usage(_word_count(prompt.messages), words)
        yield Finish("tool_calls" if prompt.model == "tools" else "stop")

    async def aclose(self) -> None:
        """Do nothing: there are no connections."""


def _script(model: str, words: int) -> Iterator[Delta]:
    if model == "reasoning":
        yield from (Reasoning(f"{word} ") for word in _THOUGHTS.split())
    yield Text(LABEL)
    if model == "count":
        yield from (Text(f"{number} ") for number in range(1, words + 1))
        return
    yield from (Text(f"{word} ") for word in itertools.islice(itertools.cycle(_STORY.split()), words))
    if model == "tools":
        fragments = ('{"city": ', '"Bern"', "}")
        yield from (ToolInput("call_demo", "get_weather", fragment) for fragment in fragments)
        yield ToolCall("call_demo", "get_weather", "".join(fragments))


def _bounded(params: dict[str, Any], name: str, default: int, most: int) -> int:
    value = params.get(name, default)
    if type(value) is not int or not 0 <= value <= most:
        raise SourceError("provider_bad_request", f"The demo's `{name}` is a whole number from 0 to {most}.")
    return value


def _word_count(messages: list[dict[str, Any]]) -> int:
    return sum(len(str(message.get("content", "")).split()) for message in messages)
