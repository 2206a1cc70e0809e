"""Tails that are sent merged entries, over every cursor, by the hub's own parts. PROTOCOL: Read/Coalesced."""

from collections.abc import Callable
from typing import Any

import pytest

from midstream.faces.face import MergingFace
from midstream.faces.native import NativeFace
from midstream.faces.ui_messages import UiMessagesFace
from midstream.hub.frames import CHUNK_BYTES, Frames
from midstream.hub.lagging import Lagging
from midstream.hub.log_sync import Event, LogSync
from midstream.hub.merged_replay import merged_replay
from midstream.hub.segment import Segment, index_of, start_of
from midstream.hub.tail import Tail
from midstream.hub.window import Window
from midstream.log.entries import Entry, Stored, encode
from midstream.log.merging import MERGED_BYTES
from midstream.log.state import State
from tests.unit.face_readers import Documents, Reading, documents_of_events, read_entries, read_ui_messages
from tests.unit.random_answers import stored

SMALL, LARGE = 20_000, 10_000_000
"""Bytes of a window: a segment of the logs below takes about 40,000 with its frames."""


async def no_page(_after: int) -> tuple[State | None, list[Stored]]:
    return None, []


class LogInMemory:
    """A log and its reader. What has left the window is read again, once the tail waits for it."""

    stream_id = "s"

    def __init__(self, window_bytes: int, entries: list[Entry]) -> None:
        self.window = Window(window_bytes)
        self.lagging = Lagging(1_000_000)
        self.sync = LogSync("s", no_page, self.window, lambda: None, lambda: None)
        self.sync._move(Event.READ_APPLIED)
        self.frames = Frames(self.sync, self.window)
        self.entries: list[Stored] = []
        self.loads: list[int] = []
        self.is_slow = False
        self.append(*entries)

    def append(self, *entries: Entry) -> None:
        for entry in entries:
            self.entries.append(Stored(self.sync.tail + 1, 1, encode(entry)))
            self.sync.offer(self.entries[-1:])

    def load(self, index: int, tail: Tail) -> None:
        self.loads.append(index)
        if self.is_slow:
            return
        segment = Segment(index)
        segment.extend(self.entries[start_of(index) - 1 : start_of(index + 1) - 1])
        self.window.put("s", segment)
        tail.pump()

    def leave(self, tail: Tail) -> None: ...


class AllSink:
    """Takes everything."""

    ready = True

    def __init__(self) -> None:
        self.chunks: list[bytes] = []

    def write(self, chunk: bytes) -> None:
        self.chunks.append(chunk)

    def close(self) -> None: ...

    @property
    def sent(self) -> bytes:
        return b"".join(self.chunks)


def words(count: int, kind: str = "text") -> list[Entry]:
    return [Entry(kind, {"text": f"{kind[0]}{number} "}) for number in range(count)]


MIXED = [
    Entry("start", {"epoch": 1, "model": "m"}),
    *words(300, "reasoning"),
    *words(400),
    Entry("data", {"kind": "k"}),
]
LIVE = [*words(3), Entry("data", {"kind": "k"}), *words(300)]
END = Entry("end", {"outcome": "completed", "finish_reason": "stop", "error": None, "usage": None, "timings": {}})
FACES: dict[str, tuple[MergingFace[Any], Callable[[Documents], Reading]]] = {
    "native": (NativeFace(), read_entries),
    "AI SDK": (UiMessagesFace("m", "tag", 7), read_ui_messages),
}


def plain(face: MergingFace[Any], log: list[Stored], after: int, upto: int) -> bytes:
    state, frames = face.begin(), []
    for entry in log[:upto]:
        frame, state = face.frame(entry, state)
        frames.append(frame if entry.offset > after else b"")
    return b"".join(frames)


def ids(sent: bytes) -> list[int]:
    return [int(line[4:].split(b".")[-1]) for line in sent.splitlines() if line.startswith(b"id: ")]


@pytest.mark.parametrize("window_bytes", [SMALL, LARGE])
@pytest.mark.parametrize("name", FACES)
def test_from_every_cursor_the_client_has_the_log(name: str, window_bytes: int) -> None:
    """I2, I5: for all k, what a plain client was sent up to k and what is sent after it are the log."""
    face, read = FACES[name]
    log = LogInMemory(window_bytes, [*MIXED, *words(40)])
    tail = log.sync.tail
    sinks = {}
    for after in [*range(0, tail, 37), 255, 256, 257, 301, 302, 701, 702, tail - 1, tail]:
        sinks[after] = AllSink()
        merged_replay(log, face, after, None, None).begin(sinks[after])
    log.append(*LIVE, END)
    for after, sink in sinks.items():
        merged = sink.sent
        assert len(ids(merged)) <= 5, after  # one for each part that is left, and what stands between them
        assert ids(merged)[-1:] == ([tail] if after < tail else [])
        whole = plain(face, log.entries, 0, after) + merged + plain(face, log.entries, tail, len(log.entries))
        expected = plain(face, log.entries, 0, len(log.entries))
        assert read(documents_of_events(whole)) == read(documents_of_events(expected))
    assert (log.loads != []) == (window_bytes == SMALL)


@pytest.mark.parametrize("name", FACES)
def test_segments_that_merge_little_are_sent_as_to_all_others(name: str) -> None:
    """I5; their frames are made once for all tails, as on the plain way."""
    face, read = FACES[name]
    singles = [Entry("data", {"kind": "k", "n": number}) for number in range(600)]
    log = LogInMemory(LARGE, [*MIXED, *singles, *words(500), END])
    expected = plain(face, log.entries, 0, log.sync.tail)
    for after in (0, 5, 300, 768, 769, 1_000, 1_024, 1_030, 1_303, 1_500):
        sink = AllSink()
        merged_replay(log, face, after, None, None).begin(sink)
        whole = plain(face, log.entries, 0, after) + sink.sent
        assert read(documents_of_events(whole)) == read(documents_of_events(expected))
        data = plain(face, log.entries[:1_280], max(after, 768), 1_280)
        assert data in sink.sent
        assert len(ids(sink.sent)) < 800


SEGMENT_ONLY = 1
"""A window that keeps one segment, as any does whose segments are larger than half of it."""


@pytest.mark.parametrize("merges", [False, True])
def test_a_window_of_one_segment_is_enough_wherever_a_tail_begins(merges: bool) -> None:
    """Read/Memory: what a face's state is made of takes the place of what is sent next, which is read again."""
    face, read = FACES["AI SDK"]
    singles = [Entry("data", {"kind": "k", "n": number}) for number in range(600)]
    for after in (0, 100, 300, 600, 1_100, 1_300):
        log = LogInMemory(SEGMENT_ONLY, [*MIXED, *singles, *words(100), END])
        sink = AllSink()
        (merged_replay if merges else Tail)(log, face, after, None, None).begin(sink)
        expected = plain(face, log.entries, 0, log.sync.tail)
        whole = plain(face, log.entries, 0, after) + sink.sent
        assert read(documents_of_events(whole)) == read(documents_of_events(expected))
        assert len(log.loads) <= 3 * (index_of(log.sync.tail) + 1)


def test_a_state_is_made_of_whole_segments() -> None:
    """One that was read while more was appended may end early."""
    face, _ = FACES["AI SDK"]
    log = LogInMemory(LARGE, [*words(250), Entry("data", {"kind": "k"}), *words(50, "reasoning")])
    log.window.forget("s")
    short = Segment(0)
    short.extend(log.entries[:200])
    log.window.put("s", short)
    sink = AllSink()
    Tail(log, face, 256, None, None).begin(sink)
    assert sink.sent == plain(face, log.entries, 256, log.sync.tail)


def test_cursors_share_what_a_segment_merges_to() -> None:
    """Read/Coalesced: what a cut leaves whole is not merged again for each cursor."""
    segment = Segment(0)
    log = [Entry("text", {"text": "x" * 20_000})] * 200 + [Entry("data", {"kind": "k"}), *words(20)]
    segment.extend(stored(log))
    kept = {id(one) for one in (*segment.merged(0, 221), *segment.entries)}
    for after in range(0, 222, 13):
        for upto in range(after, 222, 29):
            merged = segment.merged(after, upto)
            text = b"".join(content[1:] for _, _, content in merged)
            assert text == b"".join(content[1:] for _, _, content in segment.entries[after:upto])
            assert [one.offset for one in merged][-1:] == ([upto] if after < upto else [])
            assert sum(id(one) not in kept for one in merged) <= 2, "what is left of the first one, and of the last"


@pytest.mark.parametrize("name", FACES)
def test_what_comes_later_is_sent_as_to_all_others(name: str) -> None:
    face, _ = FACES[name]
    log = LogInMemory(LARGE, MIXED)
    tail = log.sync.tail
    sink = AllSink()
    reader = merged_replay(log, face, 0, None, None)
    reader.begin(sink)
    log.append(*LIVE, END)
    reader.pump()
    assert b"".join(sink.chunks[1:]) == plain(face, log.entries, tail, len(log.entries))
    assert reader._reader is log


def test_a_merged_entry_names_the_first_and_the_last_that_it_stands_for() -> None:
    log = LogInMemory(LARGE, MIXED)
    sink = AllSink()
    merged_replay(log, NativeFace(), 5, None, None).begin(sink)
    documents = documents_of_events(sink.sent)
    assert [(one["type"], one.get("first")) for one in documents] == [("reasoning", 6), ("text", 302), ("data", None)]
    assert ids(sink.sent) == [301, 701, 702]


def test_long_logs_come_in_chunks_that_are_bounded_and_shared() -> None:
    """Read/Memory."""
    log = LogInMemory(LARGE, [Entry("text", {"text": "x" * 2_000})] * 600)
    one, other = AllSink(), AllSink()
    merged_replay(log, NativeFace(), 0, None, None).begin(one)
    merged_replay(log, NativeFace(), 0, None, None).begin(other)
    assert len(one.chunks) == 3
    assert max(map(len, one.chunks)) < CHUNK_BYTES + MERGED_BYTES + 1_000
    assert all(this is that for this, that in zip(one.chunks, other.chunks, strict=True))
    assert max(len(document["text"]) for document in documents_of_events(one.sent)) <= MERGED_BYTES
    counted = log.window.size_bytes
    log.frames.drop_chunks()
    assert counted - log.window.size_bytes == len(one.sent)


def test_a_log_that_is_found_rewritten_is_sent_as_it_is() -> None:
    """Read/Rewritten: nothing that was gathered of the lost history is sent."""
    log = LogInMemory(SMALL, words(1_000))
    log.is_slow = True
    sink = AllSink()
    tail = merged_replay(log, NativeFace(), 0, None, None)
    tail.begin(sink)
    assert sink.chunks == []
    log.window.forget("s")
    log.frames.clear()
    log.sync.tail, log.entries = 0, []
    log.append(*words(3))
    tail.pump()
    assert sink.sent == plain(NativeFace(), log.entries, 0, 3)
