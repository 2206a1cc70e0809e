"""No word, sentence or character is divided, however deltas divide the text (PROTOCOL: Chunking/Modes)."""

import itertools
from collections.abc import Callable

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from midstream.attempts.delta import Reasoning, Text, ToolInput
from midstream.filters.breaks import Mode, chunker, sentence_break, word_break
from midstream.filters.filter import FilterContext, Hold

THAI, EMOJI = "สวัสดีครับ ผมชื่อสมชาย ", "👨‍👩‍👧‍👦🇫🇷🇩🇪👍🏽 e\u0301a\u0308 कि नमस्ते 한국어 "
CODE = 'def foo_bar(x: int) -> str:\r\n    return f"{x}"  # don\'t\n\n'
TEXT = f'I can\'t pay 3.14! "Really?" she said, e.g. now. 你好。再见。{THAI}{EMOJI}{CODE}End.'
GRAPHEMES = {match.start() for match in regex.finditer(r"\X", TEXT)}
WORDS = {match.start() for match in regex.finditer(r"(?w)\b", TEXT)}


def ends_of(last_break: Callable[[str], int], cuts: set[int]) -> set[int]:
    """Return where a text is divided that comes in pieces."""
    held, done, ends = "", 0, set()
    places = [0, *sorted(cuts), len(TEXT)]
    for start, end in itertools.pairwise(places):
        held += TEXT[start:end]
        if at := last_break(held):
            held, done = held[at:], done + at
            ends.add(done)
    return ends


@pytest.mark.parametrize("last_break", [word_break, sentence_break])
@settings(max_examples=60)
@given(cuts=st.sets(st.integers(1, len(TEXT) - 1)))
def test_what_is_divided_is_divided_in_the_whole_text(last_break: Callable[[str], int], cuts: set[int]) -> None:
    ends = ends_of(last_break, cuts)
    assert ends <= GRAPHEMES
    assert ends <= WORDS


@settings(max_examples=200)
@given(text=st.text("aB. \n!?\u3002)\u0301\u200d3"), cut=st.integers(0, 60))
def test_what_was_looked_at_is_not_looked_at_again(text: str, cut: int) -> None:
    """Nor is a sentence missed by that."""
    if not sentence_break(text[:cut]):
        assert sentence_break(text, min(cut, len(text))) == sentence_break(text)


def test_words_and_sentences_come_as_soon_as_they_are_whole() -> None:
    every = set(range(1, len(TEXT)))
    words, sentences = (
        [TEXT[start:end] for start, end in itertools.pairwise([0, *sorted(ends)])]
        for ends in (ends_of(word_break, every), ends_of(sentence_break, every))
    )
    assert {"can't", "3.14!", "你", "好", "วั", " कि", "🇫🇷", "👨‍👩‍👧‍👦", "foo_bar"} <= set(words)
    assert max(map(len, words)) < 14
    first = ["I can't pay 3.14! ", '"Really?" ', "she said, e.g. now. ", "你好。", "再见。"]
    assert sentences[:5] == first
    assert sentences[-2].endswith("def foo_bar(x: int) -> str:\r\n    ")


@pytest.mark.parametrize("mode", ["word", "sentence"])
@pytest.mark.parametrize("piece", ["a", "!", "\n", " ", "ก", "👍🏽", "\u0301"])
def test_what_never_ends_is_held_back_up_to_the_bound(mode: Mode, piece: str) -> None:
    """Chunking/Bounds."""
    work, context = chunker(mode, 64), FilterContext("", "", "", {})
    got = work(Text(piece * 5_000), context)
    assert isinstance(got, list)
    let_through, held = got[0], got[-1]
    assert isinstance(held, Hold)
    assert let_through.text + held.delta.text == piece * 5_000  # type: ignore[union-attr]
    assert len(held.delta.text.encode()) <= 64  # type: ignore[union-attr]


def test_only_text_and_reasoning_are_divided() -> None:
    work, context = chunker("word", 64), FilterContext("", "", "", {})
    assert work(ToolInput("c", "n", "a b c"), context) == ToolInput("c", "n", "a b c")
    assert work(Reasoning("a b"), context)[-1] == Hold(Reasoning(" b"))
    context.is_last = True
    assert work(Text("a b"), context) == Text("a b")
