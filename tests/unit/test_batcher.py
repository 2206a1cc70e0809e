"""When a delta becomes an entry: a clock of numbers, no loop, no server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.attempts.batcher import Batch, Batcher
from midstream.log.entries import Entry, decode, text

FLUSH_MS, FLUSH_BYTES = 15, 100


@pytest.fixture
def batcher() -> Batcher:
    return Batcher(FLUSH_MS, FLUSH_BYTES)


@pytest.fixture
def later(batcher: Batcher) -> Batcher:
    """One whose first batch is gone."""
    batcher.add(text("first"), 0)
    batcher.take()
    return batcher


def entries_of(batch: Batch) -> list[Entry]:
    return [decode(content, 0, 0) for content in batch.contents]


def test_nothing_is_never_due(batcher: Batcher) -> None:
    assert batcher.due_in_ms(0) is None
    assert batcher.take() == Batch([], None)


def test_the_first_entry_is_due_at_once(batcher: Batcher) -> None:
    batcher.add(text("a"), 0)
    assert batcher.due_in_ms(0) == 0


def test_later_ones_wait_for_their_time_counted_from_the_oldest(later: Batcher) -> None:
    later.add(text("a"), 100)
    assert later.due_in_ms(100) == FLUSH_MS
    later.add(text("b"), 110)
    assert later.due_in_ms(110) == FLUSH_MS - 10
    assert later.due_in_ms(100 + FLUSH_MS + 1) == 0


def test_later_ones_are_due_at_once_when_there_are_enough_of_them(later: Batcher) -> None:
    later.add(text("x" * (FLUSH_BYTES - 2)), 0)
    assert later.due_in_ms(0) == FLUSH_MS
    later.add(text("y"), 0)
    assert later.due_in_ms(0) == 0


def test_the_time_begins_anew_after_each_batch(later: Batcher) -> None:
    later.add(text("a"), 0)
    later.take()
    assert later.due_in_ms(1_000) is None
    later.add(text("b"), 1_000)
    assert later.due_in_ms(1_000) == FLUSH_MS


def test_flush_ms_of_0_holds_nothing_back() -> None:
    batcher = Batcher(0, FLUSH_BYTES)
    for now_ms in (0, 5):
        batcher.add(text("a"), now_ms)
        assert batcher.due_in_ms(now_ms) == 0
        batcher.take()


def test_neighbouring_text_is_merged_and_nothing_else_is(later: Batcher) -> None:
    call = Entry("tool_call", {"id": "c", "name": "n", "arguments": "{}"})
    thought = Entry("reasoning", {"text": "hm"})
    for entry in (text("a"), text("b"), thought, thought, text("c"), call, call, text("d"), text("e")):
        later.add(entry, 0)
    assert entries_of(later.take()) == [
        text("ab"),
        Entry("reasoning", {"text": "hmhm"}),
        text("c"),
        call,
        call,
        text("de"),
    ]


def test_text_is_not_merged_over_batches(later: Batcher) -> None:
    later.add(text("a"), 0)
    assert entries_of(later.take()) == [text("a")]
    later.add(text("b"), 0)
    assert entries_of(later.take()) == [text("b")]


def test_a_batch_carries_the_last_position_once(later: Batcher) -> None:
    later.add(text("a"), 0)
    later.mark(3)
    later.mark(7)
    assert later.take().cursor == 7
    later.add(text("b"), 0)
    assert later.take().cursor is None


@given(
    pieces=st.lists(st.tuples(st.sampled_from(["text", "reasoning", "data"]), st.text(min_size=1), st.booleans())),
    flush_bytes=st.integers(1, 60),
)
def test_whatever_the_batches_the_content_stays_the_same(pieces: list[tuple[str, str, bool]], flush_bytes: int) -> None:
    batcher, out = Batcher(FLUSH_MS, flush_bytes), []
    for number, (kind, piece, flush) in enumerate(pieces):
        batcher.add(Entry(kind, {"text": piece}), number)
        if flush or batcher.due_in_ms(number) == 0:
            out += entries_of(batcher.take())
    out += entries_of(batcher.take())

    def runs(entries: list[Entry]) -> list[tuple[str, str]]:
        joined: list[tuple[str, str]] = []
        for entry in entries:
            if entry.type != "data" and joined and joined[-1][0] == entry.type:
                joined[-1] = (entry.type, joined[-1][1] + entry.data["text"])
            else:
                joined.append((entry.type, entry.data["text"]))
        return joined

    assert runs(out) == runs([Entry(kind, {"text": piece}) for kind, piece, _ in pieces])
