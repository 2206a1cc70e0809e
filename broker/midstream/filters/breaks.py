"""Where a text can be divided so that no word, sentence or character is cut (PROTOCOL: Chunking/Modes). Pure.

A break is one only if it stays one however the text goes on. Breaks are those of Unicode: scripts that need a
dictionary for words, as Thai, are divided between characters as people see them, each of one or more code points.
"""

from collections.abc import Callable
from typing import Final, Literal

import regex

from midstream.attempts.delta import Delta, Reasoning, Text
from midstream.filters.filter import Filter, FilterContext, Hold, with_string

Mode = Literal["word", "sentence"]

_WORD_BREAK: Final = regex.compile(r"(?w)\b")
_GRAPHEME: Final = regex.compile(r"\X")
_SENTENCE: Final = regex.compile(
    r"(?:(?<![\p{SB=ST}\p{SB=AT}])"
    r"(?:\p{SB=AT}*+\p{SB=ST}[\p{SB=ST}\p{SB=AT}]*+[\p{SB=CL}]*+\s*+|\p{SB=AT}++[\p{SB=CL}]*+\s++(?!\p{Ll}))"
    r"|(?<!\s)[^\S\n]*+\n\s*+)"
    r"(?=[^\s\p{M}\p{Cf}\p{SB=ST}\p{SB=AT}])"
)
"""The end of a sentence, with the space after it, and something that begins the next one."""
_BETWEEN: Final = regex.compile(r"[\s\p{SB=ST}\p{SB=AT}\p{SB=CL}\p{M}\p{Cf}]")
"""What may stand between the last letter of a sentence and the first one of the next."""
_LOOK_BACK_CHARS: Final = 512
"""Longest part of a text's end in which a break between words is looked for at first."""


def word_break(text: str) -> int:
    """Return the last place between two words; 0: there is none."""
    for begin in (max(0, len(text) - _LOOK_BACK_CHARS), 0):
        breaks = [match.start() for match in _WORD_BREAK.finditer(text, begin) if match.start() > begin]
        if len(breaks) > 1 and text[breaks[-2]].isspace():
            return breaks[-2]
        # What comes may join the last three pieces, as the apostrophe of `can't` and the point of `3.14` do.
        if len(breaks) > 2:  # noqa: PLR2004
            return breaks[-3]
    return 0


def sentence_break(text: str, seen: int = 0) -> int:
    """Return the last place between two sentences; 0: there is none.

    Args:
        text: What may be divided.
        seen: So many of its first characters have no such place among them, so they are not looked at again.
    """
    while seen and _BETWEEN.match(text[seen - 1]):
        seen -= 1  # the end of a sentence may have begun there
    at = 0
    for match in _SENTENCE.finditer(text, seen):
        at = match.end()
    return at


def grapheme_break(text: str) -> int:
    """Return where the last character begins, as people see it: more code points may join it."""
    at = 0
    for match in _GRAPHEME.finditer(text):
        at = match.start()
    return at


_BREAKS: Final[dict[Mode, Callable[[str, int], int]]] = {
    "word": lambda text, _: word_break(text),
    "sentence": sentence_break,
}
_HELD: Final = "held"


def forced_break(text: str) -> int:
    """Return where a text is divided that has waited for too long: between words, or else between characters."""
    return word_break(text) or grapheme_break(text)


def chunker(mode: Mode, hold_bytes: int) -> Filter:
    """Return a filter that lets whole words or sentences through, and holds back at most so many bytes."""
    last_break = _BREAKS[mode]

    def chunking(delta: Delta, context: FilterContext) -> Delta | list[Delta | Hold]:
        held = context.memory.pop(_HELD, "")
        if context.is_last or not isinstance(delta, Text | Reasoning):
            return delta
        text = delta.text
        at = last_break(text, len(held) if text.startswith(held) else 0)
        while len((rest := text[at:]).encode()) > hold_bytes:
            at += forced_break(rest) or len(rest)
        context.memory[_HELD] = rest
        return [with_string(delta, text[:at]), Hold(with_string(delta, text[at:]))]

    return chunking
