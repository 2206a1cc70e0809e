"""Merged entries say what the log says, in fewer words. PROTOCOL: Read/Coalesced."""

import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.log.answer import Answer
from midstream.log.entries import Entry, Stored, decode, encode
from midstream.log.merging import MERGED_BYTES, merge
from tests.unit.random_answers import answers, stored


def parts(entries: list[Stored]) -> list[tuple[str, Any]]:
    """Return what a client makes of entries: the whole text of each part, and everything else as it is."""
    made: list[tuple[str, Any]] = []
    for one in entries:
        entry = decode(one.content, one.offset, one.epoch)
        data, piece = dict(entry.data), entry.text
        if entry.type == "tool_input":
            piece = data.pop("delta")
        if entry.type not in ("text", "reasoning", "tool_input"):
            made.append((entry.type, data))
        elif made and made[-1][0] == entry.type and (entry.type != "tool_input" or made[-1][1][0] == data):
            made[-1] = (entry.type, (made[-1][1][0], made[-1][1][1] + piece))
        else:
            made.append((entry.type, (data if entry.type == "tool_input" else None, piece)))
    return made


def answer_of(entries: list[Stored]) -> Answer:
    answer = Answer()
    for entry in entries:
        answer.add(entry)
    return answer


@given(entries=answers, cut=st.integers(0, 12))
def test_the_content_is_the_same_and_each_part_is_one_entry(entries: list[Entry], cut: int) -> None:
    """I5."""
    log = stored(entries)
    merged = merge(log)
    assert len(merged) == len(parts(log))
    assert parts(merged) == parts(log)
    assert (answer_of(merged).text, answer_of(merged).tool_calls) == (answer_of(log).text, answer_of(log).tool_calls)
    assert [one.offset for one in merged] == sorted({one.offset for one in merged} & {one.offset for one in log})
    assert merged[-1:] == [] or merged[-1].offset == log[-1].offset
    assert merge(merge(log[:cut]) + log[cut:]) == merge(merge(log[:cut]) + merge(log[cut:])) == merge(merged) == merged


def test_other_entries_stand_between_parts_as_they_are() -> None:
    reset = Stored(3, 1, b'x{"reason":"r"}')
    log = [Stored(1, 1, b"ta"), Stored(2, 1, b"tb"), reset, Stored(4, 2, b"tc"), Stored(5, 2, b"rd")]
    assert merge(log) == [Stored(2, 1, b"tab"), reset, Stored(4, 2, b"tc"), Stored(5, 2, b"rd")]


@pytest.mark.parametrize("odd", [{"id": "c"}, {"delta": None}, {"delta": {"delta": "a"}}, {"delta": 1}])
def test_tool_input_without_a_text_is_left_alone(odd: dict[str, Any]) -> None:
    """Entries/Calls."""
    log = stored([Entry("tool_input", odd)] * 3)
    assert merge(log) == log


def test_pieces_are_joined_whatever_their_fields_and_characters() -> None:
    pieces = ['"', "\\", '","delta":"', "\x00", "é🙂", "}"]
    log = stored([Entry("tool_input", {"delta": piece, "id": "c", "more": {"delta": "d"}}) for piece in pieces])
    (merged,) = merge(log)
    assert decode(merged.content, 6, 1).data == {"delta": "".join(pieces), "id": "c", "more": {"delta": "d"}}


@pytest.mark.parametrize("kind", ["text", "tool_input"])
def test_what_is_too_large_for_one_entry_is_divided_between_deltas(kind: str) -> None:
    """Read/Memory, I9."""
    field = "text" if kind == "text" else "delta"
    sizes = [100_000] * 6 + [MERGED_BYTES * 2] + [5] * 3
    log = stored([Entry(kind, {field: "é" * (size // 2)}) for size in sizes])
    merged = merge(log)
    assert parts(merged) == parts(log)
    assert merged[-1].offset == len(sizes)
    large = [encode(Entry(kind, {field: "é" * MERGED_BYTES}))]
    assert [one.content for one in merged if len(one.content) > MERGED_BYTES] == large
    assert len(merged) < len(log)


@pytest.mark.parametrize("kind", ["text", "tool_input"])
def test_what_is_too_large_for_one_entry_is_not_joined_first(kind: str) -> None:
    """Read/Memory."""
    field = "text" if kind == "text" else "delta"
    log = stored([Entry(kind, {field: "x" * MERGED_BYTES})] * 64)
    tracemalloc.start()
    try:
        merged = merge(log)
        most_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert merged == log
    assert most_bytes < 6 * MERGED_BYTES
