"""What the fake provider is to do, told by the prompt itself: `{"script": {...}}` as the last user message."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, fields
from typing import Any, Literal

STALL_S = 120.0
RELEASED = asyncio.Event()
"""Set by `POST /release`: scripts that hold go on."""

Kind = Literal["redacted", "hidden", "reasoning", "text", "refusal", "tool"]

_VARIATIONS = (" ", "😀 ", "\n", "é\r\n", "\u2028", "👩‍👩‍👧 ", "\t漢字 ")


@dataclass(frozen=True, slots=True)
class Step:
    """One delta that the provider sends."""

    kind: Kind
    piece: str


class Broken(Exception):
    """The script says that the stream breaks here, and how."""

    def __init__(self, fail: str) -> None:
        super().__init__(fail)
        self.fail = fail


@dataclass(frozen=True, slots=True)
class Script:
    """The course of one generation. Word i is `w{i} `, so every text is known beforehand.

    Attributes:
        says: The answer in words of your own, in place of `words`, `dots` and `unicode`.
        words: Words of the answer.
        dots: Dots before the number of each word, to make it long.
        delay_ms: Pause before each step (word, reasoning word, tool fragment).
        first_delay_ms: Further pause before the first one.
        reasoning: Words of reasoning before the answer.
        tool: Whether it ends in a tool call.
        afterthought: Words of reasoning after the tool call (Anthropic only).
        hidden: Whether it begins with reasoning that it does not show: sealed, without a word.
        redact: Whether it begins with reasoning that it shows in cipher (Anthropic only).
        refuse: Whether it refuses instead of answering.
        cite: Whether it cites a page (Responses and Gemini).
        finish: `stop`, `length` or `content_filter`.
        stopped_by: The stop sequence that ends it (Anthropic only).
        unicode: Whether words end in emoji, line ends and such instead of a space.
        split: Whether characters beyond U+FFFF are cut in two deltas.
        fail: `status`, `reset` (TCP), `eof` (clean end without terminal event), `error_event`, `failed_event`
            (Responses and Gemini), `cut_event` (Gemini's, which ends a connection alone), `garbage` (no JSON) or
            `stall` (silence).
        fail_at: The step before which it fails; -1 is before the response's headers.
        fail_times: How often this very script fails before it succeeds; `None` is always.
        status: HTTP status of `fail: status`.
        retry_after: Seconds in the `Retry-After` header of that answer.
        error_code: Code or type of the error body or event; each dialect has its own default.
        hold_at: The step before which it waits for `ProviderServer.release`; `None` is nowhere.
        max_age_ms: A response older than this is not streamed again.
        tag: Nothing; tells equal scripts apart.
    """

    says: str | None = None
    words: int = 20
    dots: int = 0
    delay_ms: float = 0
    first_delay_ms: float = 0
    reasoning: int = 0
    tool: bool = False
    afterthought: int = 0
    hidden: bool = False
    redact: bool = False
    refuse: bool = False
    cite: bool = False
    finish: str = "stop"
    stopped_by: str | None = None
    unicode: bool = False
    split: bool = False
    fail: str | None = None
    fail_at: int = 10
    fail_times: int | None = None
    status: int = 500
    retry_after: float | None = None
    error_code: str | None = None
    hold_at: int | None = None
    max_age_ms: float | None = None
    tag: str = ""

    def text(self) -> str:
        """Return the whole answer."""
        return "" if self.refuse else "".join(self._all_words())

    def reasoning_text(self) -> str:
        """Return the whole reasoning."""
        return "".join(f"r{number} " for number in range(self.reasoning))

    def refusal(self) -> str:
        """Return what it says instead of an answer."""
        return "I will not. " if self.refuse else ""

    def arguments(self) -> str:
        """Return the tool call's whole arguments."""
        return json.dumps({"city": "Zürich 😀", "words": self.words}, ensure_ascii=False)

    def steps(self) -> Iterator[Step]:
        """Yield the deltas, in order."""
        if self.redact:
            yield Step("redacted", "")
        if self.hidden:
            yield Step("hidden", "")
        yield from (Step("reasoning", f"r{number} ") for number in range(self.reasoning))
        if self.refuse:
            yield Step("refusal", self.refusal())
            return
        for word in self._all_words():
            yield from (Step("text", piece) for piece in self._cut(word))
        if self.tool:
            arguments = self.arguments()
            for start in range(0, len(arguments), 7):
                yield from (Step("tool", piece) for piece in self._cut(arguments[start : start + 7]))
        yield from (Step("reasoning", f"a{number} ") for number in range(self.afterthought))

    def _all_words(self) -> list[str]:
        if self.says is not None:
            return re.findall(r"\s*\S+|\s+", self.says)
        return [self._word(number) for number in range(self.words)]

    def _word(self, number: int) -> str:
        return f"w{'.' * self.dots}{number}" + (_VARIATIONS[number % len(_VARIATIONS)] if self.unicode else " ")

    def _cut(self, piece: str) -> Iterator[str]:
        at = next((at for at, character in enumerate(piece) if character > "\uffff"), None)
        if not self.split or at is None:
            yield piece
            return
        code = ord(piece[at]) - 0x10000
        yield piece[:at] + chr(0xD800 + (code >> 10))
        yield chr(0xDC00 + (code & 0x3FF)) + piece[at + 1 :]


def read_script(prompt: str, default: Script) -> Script:
    """Return the script that a prompt holds; any other prompt gets the default one.

    Raises:
        TypeError: The script has an unknown field: a mistake in a test.
    """
    try:
        directive = json.loads(prompt)
    except ValueError:
        return default
    if not isinstance(directive, dict) or "script" not in directive:
        return default
    return Script(**directive["script"])


def directive(script: Script) -> str:
    """Return the prompt that makes the provider follow this script."""
    default = Script()
    settings = {field.name: getattr(script, field.name) for field in fields(Script)}
    return json.dumps({"script": {name: value for name, value in settings.items() if value != getattr(default, name)}})


def last_user_text(messages: list[dict[str, Any]]) -> str:
    """Return the text of the last user message, of any dialect."""
    for message in reversed(messages):
        if message.get("role") == "user" or message.get("type") == "user_input":
            content = message["content"]
            return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
    return ""


async def play(script: Script, fail: str | None) -> AsyncGenerator[Step]:
    """Yield the script's steps at their pace.

    Raises:
        Broken: It is to fail (`fail` is how) and has come to that step.
    """
    await asyncio.sleep(script.first_delay_ms / 1_000)
    for number, step in enumerate(script.steps()):
        if fail and number == script.fail_at:
            await break_off(fail)
        if number == script.hold_at:
            await RELEASED.wait()
        await asyncio.sleep(script.delay_ms / 1_000)
        yield step
    if fail:
        await break_off(fail)


async def break_off(fail: str) -> None:
    """Stall, or raise `Broken`."""
    if fail == "stall":
        await asyncio.sleep(STALL_S)
    raise Broken(fail)
