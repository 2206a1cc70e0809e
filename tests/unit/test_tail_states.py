"""Every row of a tail's table of states, without a hub. PROTOCOL: Read/Truthful, Read/Rewritten."""

from collections.abc import Callable
from typing import Any

import pytest

from midstream.faces.native import NativeFace
from midstream.hub.frames import Frames
from midstream.hub.lagging import Lagging
from midstream.hub.log_sync import Event, LogSync
from midstream.hub.tail import Tail, TailState
from midstream.hub.window import Window
from midstream.log.entries import Stored
from midstream.log.state import State

FACE = NativeFace()
END = b'e{"outcome":"completed"}'


async def no_page(_after: int) -> tuple[State | None, list[Stored]]:
    return None, []


class Log:
    """A reader whose log a test appends to."""

    stream_id = "s"

    def __init__(self, *contents: bytes) -> None:
        window = Window(1_000_000)
        self.lagging = Lagging(1_000_000)
        self.sync = LogSync("s", no_page, window, lambda: None, lambda: None)
        self.sync._move(Event.READ_APPLIED)
        self.frames = Frames(self.sync, window)
        self.left: list[Tail] = []
        self.append(*contents)

    def append(self, *contents: bytes) -> None:
        for content in contents:
            self.sync.offer([Stored(self.sync.tail + 1, 1, content)])

    def load(self, index: int, tail: Tail) -> None:
        raise AssertionError((index, tail))

    def leave(self, tail: Tail) -> None:
        self.left.append(tail)


class Sink:
    """Writes down what it is sent; ready or not, as the test likes."""

    def __init__(self, *, ready: bool) -> None:
        self.ready = ready
        self.chunks: list[bytes] = []
        self.closed = 0

    def write(self, chunk: bytes) -> None:
        assert self.ready
        assert not self.closed
        self.chunks.append(chunk)

    def close(self) -> None:
        self.closed += 1


def tail_in(state: TailState) -> tuple[Tail, Sink, Log]:
    """Return a tail that was sent the only entry and has come to a state, a sink that is not ready, and the log."""
    log = Log(b"ta")
    tail = Tail(log, FACE, 0, None, None)
    sink = Sink(ready=True)
    tail.begin(sink)
    sink.ready = False
    sink.chunks.clear()
    ways: dict[TailState, Callable[[], Any]] = {
        TailState.OPEN: tail.pump,
        TailState.RESETTING: lambda: tail.restart("rewritten"),
        TailState.ENDING: lambda: tail.part(7),
        TailState.CLOSED: tail.close,
        TailState.FAILED: tail.fail,
    }
    ways[state]()
    assert tail._state is state
    return tail, sink, log


def ready(tail: Tail, sink: Sink) -> None:
    sink.ready = True
    tail.pump()


EVENTS: dict[str, Callable[[Tail, Sink, Log], Any]] = {
    "nothing": lambda tail, _sink, _log: tail.pump(),
    "ready": lambda tail, sink, _log: ready(tail, sink),
    "restart": lambda tail, _sink, _log: tail.restart("again"),
    "dismiss": lambda tail, _sink, _log: tail.dismiss("deleted"),
    "part": lambda tail, _sink, _log: tail.part(9),
    "refuse": lambda tail, _sink, _log: tail.refuse("token_expired"),
    "close": lambda tail, _sink, _log: tail.close(),
    "fail": lambda tail, _sink, _log: tail.fail(),
}
OPEN, RESETTING, ENDING, CLOSED, FAILED = TailState
ROWS = {
    "nothing": (OPEN, RESETTING, ENDING, CLOSED, FAILED),
    "ready": (OPEN, OPEN, CLOSED, CLOSED, FAILED),
    "restart": (RESETTING, RESETTING, ENDING, CLOSED, FAILED),
    "dismiss": (ENDING, ENDING, ENDING, CLOSED, FAILED),
    "part": (ENDING, ENDING, ENDING, CLOSED, FAILED),
    "refuse": (ENDING, ENDING, ENDING, CLOSED, FAILED),
    "close": (CLOSED, CLOSED, CLOSED, CLOSED, FAILED),
    "fail": (FAILED, FAILED, FAILED, CLOSED, FAILED),
}


@pytest.mark.parametrize("state", TailState)
@pytest.mark.parametrize("event", EVENTS)
def test_each_event_in_each_state(event: str, state: TailState) -> None:
    tail, sink, log = tail_in(state)
    EVENTS[event](tail, sink, log)
    after = ROWS[event][list(TailState).index(state)]
    assert tail._state is after
    is_over = after in (CLOSED, FAILED)
    assert (sink.closed, len(log.left)) == (int(is_over), int(is_over))
    assert (tail.is_ending_or_over, tail.failed) == (after not in (OPEN, RESETTING), after is FAILED)


def test_a_reset_that_is_due_goes_before_the_log() -> None:
    tail, sink, _log = tail_in(RESETTING)
    ready(tail, sink)
    assert sink.chunks == [FACE.reset("rewritten"), FACE.frame(Stored(1, 1, b"ta"), None)[0]]


def test_the_first_last_frame_counts() -> None:
    tail, sink, log = tail_in(ENDING)
    tail.dismiss("deleted")
    log.append(b"tb")
    ready(tail, sink)
    assert sink.chunks == [FACE.broker_stop(7)]


def test_the_end_closes_once_it_is_sent() -> None:
    tail, sink, log = tail_in(OPEN)
    log.append(END)
    tail.pump()
    assert not sink.closed
    ready(tail, sink)
    assert (sink.chunks, sink.closed) == ([FACE.frame(Stored(2, 1, END), None)[0]], 1)


def test_a_tail_up_to_an_offset_closes_there() -> None:
    log, sink = Log(b"ta", b"tb", b"tc"), Sink(ready=True)
    tail = Tail(log, FACE, 0, 2, None)
    tail.begin(sink)
    assert (tail.cursor, sink.closed, log.left) == (2, 1, [tail])


def test_a_mark_goes_between_the_frames_that_it_parts() -> None:
    log, sink = Log(b"ta", b"tb", b"tc"), Sink(ready=True)
    Tail(log, FACE, 0, None, (2, b"mark")).begin(sink)
    first, mark, rest = sink.chunks
    assert (first.count(b"id: "), mark, rest.count(b"id: ")) == (2, b"mark", 1)


@pytest.mark.parametrize("do", [lambda tail: tail.part(7), lambda tail: tail.restart("rewritten")])
def test_what_is_due_before_there_is_a_sink_is_sent_to_it_first(do: Callable[[Tail], None]) -> None:
    log, sink = Log(b"ta"), Sink(ready=True)
    tail = Tail(log, FACE, 0, None, None)
    do(tail)
    tail.begin(sink, opening=b"opening")
    assert sink.chunks[0] in (b"opening" + FACE.broker_stop(7), b"opening" + FACE.reset("rewritten"))


def test_a_tail_that_was_closed_before_it_began_closes_its_sink() -> None:
    log, sink = Log(b"ta"), Sink(ready=True)
    tail = Tail(log, FACE, 0, None, None)
    tail.close()
    tail.begin(sink, opening=b"opening")
    assert (sink.chunks, sink.closed) == ([], 1)


def test_an_opening_goes_out_without_entries() -> None:
    log, sink = Log(b"ta"), Sink(ready=True)
    Tail(log, FACE, 1, None, None).begin(sink, opening=b"opening")
    assert sink.chunks == [b"opening"]
