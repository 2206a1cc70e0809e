"""Runs of deflate that refer to nothing before them, and the gzip that they make. PROTOCOL: Read/Compressed."""

import gzip
import random
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.faces.native import NativeFace
from midstream.http.tails.gzip_member import GzipMember, accepts_gzip
from midstream.hub.deflate import LARGE_BYTES, SMALL_BYTES, STORED_BYTES, deflated
from midstream.hub.frames import Frames
from midstream.hub.lagging import Lagging
from midstream.hub.log_sync import Event, LogSync
from midstream.hub.merged_replay import merged_replay
from midstream.hub.segment import SEGMENT_ENTRIES
from midstream.hub.tail import Tail
from midstream.hub.window import Window
from midstream.log.entries import Stored
from midstream.log.state import State

FACE = NativeFace()
ENTRIES = 3 * SEGMENT_ENTRIES + 17


def inflated(run: bytes) -> bytes:
    """Return what a run holds, read by itself; fails if it is not complete."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    data = inflater.decompress(run) + inflater.decompress(b"\x03\0")
    assert inflater.eof
    return data


@given(st.lists(st.binary(max_size=400)), st.binary(max_size=40))
def test_runs_in_any_order_are_one_member(chunks: list[bytes], opening: bytes) -> None:
    runs = {chunk: deflated(chunk) for chunk in chunks}  # made once, whatever comes before them
    member = GzipMember(opening, deflated(opening))
    sent = b"".join(member.add(chunk, runs[chunk]) for chunk in chunks) + member.end()
    assert gzip.decompress(sent) == opening + b"".join(chunks)


@given(st.lists(st.binary(min_size=1, max_size=400), min_size=1))
def test_each_chunk_can_be_read_before_the_next_is_made(chunks: list[bytes]) -> None:
    opening = b"retry: 1\n\n"
    member, inflater = GzipMember(opening, deflated(opening)), zlib.decompressobj(31)
    assert inflater.decompress(member.begin()) == opening
    assert member.begin() == b""
    for chunk in chunks:
        assert inflater.decompress(member.add(chunk, deflated(chunk))) == chunk
    assert inflater.decompress(member.end()) == b""
    assert inflater.eof


@pytest.mark.parametrize(
    "size", [1, SMALL_BYTES - 1, SMALL_BYTES, STORED_BYTES + 1, LARGE_BYTES, LARGE_BYTES + 1, 3 * LARGE_BYTES]
)
def test_the_small_and_the_huge_are_stored(size: int) -> None:
    data = b"x" * size
    run = deflated(data)
    assert inflated(run) == data
    assert (len(run) < size) is (SMALL_BYTES <= size <= LARGE_BYTES)


def test_what_does_not_shrink_hardly_grows() -> None:
    data = random.Random(1).randbytes(200_000)  # noqa: S311
    assert len(deflated(data)) < len(data) + 200


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [
        ([], False),
        ([b""], False),
        ([b"identity"], False),
        ([b"gzip"], True),
        ([b"GZip"], True),
        ([b"gzip, deflate, br, zstd"], True),
        ([b"br;q=1.0, gzip;q=0.8, *;q=0.1"], True),
        ([b"deflate", b"gzip ; q=0.5"], True),
        ([b"gzip;q=0"], False),
        ([b"gzip;q=0.000"], False),
        ([b"gzip;Q=1"], True),
        ([b"gzip;q=0.5, identity"], False),
        ([b"gzip;q=0.5, identity;q=0.5"], True),
        ([b"gzip, identity;q=0"], True),
        ([b"identity;q=0"], False),
        ([b"*"], False),
        ([b"gzip;q=nan"], False),
        ([b"gzip;q=-1"], False),
        ([b"gzip;q=2"], False),
        ([b"gzip;x=1"], False),
        ([b"gzip;q=\xff"], False),
        ([b"x-gzip"], False),
    ],
)
def test_who_names_gzip_and_refuses_it_not_is_sent_it(accepted: list[bytes], *, compressed: bool) -> None:
    headers = [(b"host", b"x"), *((b"accept-encoding", value) for value in accepted)]
    assert accepts_gzip({"type": "http", "headers": headers}) is compressed


async def no_page(_after: int) -> tuple[State | None, list[Stored]]:
    return None, []


class Log:
    """A reader whose log is all in memory."""

    stream_id = "s"

    def __init__(self, window_bytes: int = 10_000_000) -> None:
        self.window = Window(window_bytes)
        self.lagging = Lagging(1_000_000)
        self.sync = LogSync("s", no_page, self.window, lambda: None, lambda: None)
        self.sync._move(Event.READ_APPLIED)
        self.frames = Frames(self.sync, self.window)
        self.append(ENTRIES)

    def append(self, count: int) -> None:
        tail = self.sync.tail
        self.sync.offer([Stored(offset, 1, b"tword %d" % offset) for offset in range(tail + 1, tail + count + 1)])

    def load(self, index: int, tail: Tail) -> None:
        raise AssertionError((index, tail))

    def leave(self, _tail: Tail) -> None:
        pass


class Sink:
    """Keeps what it is sent, and what that is deflated."""

    ready = True

    def __init__(self, tail: Tail) -> None:
        self._tail = tail
        self.plain = b""
        self.runs: list[bytes] = []

    def write(self, chunk: bytes) -> None:
        self.plain += chunk
        self.runs.append(self._tail.deflated(chunk))

    def close(self) -> None:
        pass


def sent(log: Any, after: int = 0) -> Sink:
    tail = Tail(log, FACE, after, None, None)
    sink = Sink(tail)
    tail.begin(sink)
    return sink


@pytest.mark.parametrize("after", [0, 1, 255, 256, 257, 3 * SEGMENT_ENTRIES, ENTRIES - 1])
def test_a_replay_is_the_same_wherever_it_begins(after: int) -> None:
    sink = sent(Log(), after)
    assert b"".join(map(inflated, sink.runs)) == sink.plain
    assert sink.plain.startswith(b"id: %d\n" % (after + 1))
    assert sink.plain.count(b"\nevent: text") == ENTRIES - after


def test_tails_that_are_sent_the_same_chunk_share_its_run() -> None:
    log = Log()
    first, second = sent(log), sent(log)
    assert first.runs[0] is second.runs[0]
    framing = log.window.get("s", 1)
    assert framing is not None
    run = framing.deflated(FACE, SEGMENT_ENTRIES, 2 * SEGMENT_ENTRIES)
    assert run is not None
    assert run in sent(log, 3).runs[0]


def test_merged_entries_are_deflated_once_too() -> None:
    log = Log()
    runs = []
    for _ in range(2):
        tail = merged_replay(log, FACE, 0, None, None)
        sink = Sink(tail)
        tail.begin(sink)
        assert b"".join(map(inflated, sink.runs)) == sink.plain
        runs.append(sink.runs)
    assert all(one is other for one, other in zip(*runs, strict=True))


def test_the_window_counts_what_is_deflated_and_gets_it_back() -> None:
    """Read/Memory."""
    log = Log()
    tail = Tail(log, FACE, ENTRIES, None, None)
    sink = Sink(tail)
    tail.begin(sink)
    for _ in range(5):
        log.append(9)
        plain_bytes, runs = log.window.size_bytes, len(sink.runs)
        tail.pump()
        tail.pump()
        assert len(sink.runs) == runs + 1
        assert log.window.size_bytes >= plain_bytes
    sent(log)
    segment_runs = log.window.size_bytes
    log.frames.drop_chunks()
    kept = log.window.size_bytes
    assert segment_runs > kept
    log.frames.drop_chunks()
    assert log.window.size_bytes == kept
    assert log.window._chunk_bytes == 0
    log.window.forget("s")
    log.frames.clear()
    assert log.window.size_bytes == 0


def test_a_window_without_room_keeps_no_run_and_sends_the_same() -> None:
    """Read/Memory."""
    log = Log(window_bytes=400_000)
    for after in (0, 5, 0, 300):
        sink = sent(log, after)
        assert b"".join(map(inflated, sink.runs)) == sink.plain
    log.frames.clear()
    assert log.window._chunk_bytes == 0


def test_a_frame_of_a_closed_stream_is_deflated_and_not_kept() -> None:
    log = Log()
    log.frames.clear()
    size_bytes, frame = log.window.size_bytes, b"x" * 200
    assert inflated(log.frames.deflated(frame)) == frame
    assert log.window.size_bytes == size_bytes
