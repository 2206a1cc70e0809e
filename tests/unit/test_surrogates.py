"""Characters that are cut in two deltas are joined, and every piece is valid UTF-8."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from midstream.attempts.surrogates import SurrogateJoiner, joined


def halves(text: str) -> list[str]:
    """Return the text's UTF-16 units, each as a character of its own."""
    units = text.encode("utf-16-le", "surrogatepass")
    return [chr(int.from_bytes(units[at : at + 2], "little")) for at in range(0, len(units), 2)]


@given(st.text(), st.lists(st.integers(0, 50)))
def test_cut_anywhere_the_whole_is_the_same(text: str, cuts: list[int]) -> None:
    units = halves(text)
    bounds = sorted({0, len(units), *(cut for cut in cuts if cut < len(units))})
    pieces = ["".join(units[start:end]) for start, end in itertools.pairwise(bounds)]
    joiner = SurrogateJoiner()
    passed = [*map(joiner.push, pieces), joiner.flush()]
    for piece in passed:
        piece.encode()
    assert "".join(passed) == text


@given(st.lists(st.text(st.characters(exclude_categories=()), max_size=4)))
def test_whatever_comes_every_piece_is_valid(pieces: list[str]) -> None:
    joiner = SurrogateJoiner()
    passed = [*map(joiner.push, pieces), joiner.flush()]
    for piece in passed:
        piece.encode()
    assert "".join(passed) == joined("".join(pieces))


def test_a_half_alone_at_the_end_is_replaced() -> None:
    joiner = SurrogateJoiner()
    assert joiner.push("a\ud83d") == "a"
    assert joiner.flush() == "\ufffd"
    assert joiner.flush() == ""


def test_a_half_alone_in_the_midst_is_replaced() -> None:
    joiner = SurrogateJoiner()
    assert [joiner.push("\ud83d"), joiner.push("b"), joiner.push("\ude00c")] == ["", "\ufffdb", "\ufffdc"]
