"""The copy of a log against a model of its server: every transition, any order of events. Read/Rewritten. I1, I2."""

from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from midstream.hub.log_sync import MAX_KEPT, PAGE_ENTRIES, TRANSITIONS, Event, Phase
from midstream.hub.segment import SEGMENT_ENTRIES, Segment
from midstream.log.entries import Stored
from tests.unit.sync_model import END, Reader, Server


def following(*contents: bytes) -> Reader:
    server = Server()
    server.append(*contents)
    reader = Reader(server)
    reader.settle()
    return reader


def in_phase(phase: Phase) -> Reader:
    reader = following(b"ta")
    if phase in (Phase.READING, Phase.STALE):
        reader.sync.mark_stale()
    if phase is Phase.STALE:
        reader.step()
        reader.sync.mark_stale()
    if phase is Phase.CLOSED:
        reader.sync.close()
    assert reader.sync.phase is phase
    return reader


ACTIONS: dict[Event, Callable[[Reader], object]] = {
    Event.READ_BEGINS: lambda reader: reader.sync._move(Event.READ_BEGINS),
    Event.READ_APPLIED: lambda reader: reader.sync._move(Event.READ_APPLIED),
    Event.MISSED: lambda reader: reader.sync.mark_stale(),
    Event.REST: lambda reader: reader.sync.rest(),
    Event.CLOSE: lambda reader: reader.sync.close(),
}


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("event", Event)
def test_every_transition_is_in_the_table_or_refused(phase: Phase, event: Event) -> None:
    reader = in_phase(phase)
    after = TRANSITIONS.get((phase, event))
    if after is None:
        with pytest.raises(KeyError):
            ACTIONS[event](reader)
    else:
        ACTIONS[event](reader)
        assert reader.sync.phase is after
    if reader.reading is not None:
        reader.reading.close()


def test_the_next_publication_is_taken_and_an_old_one_is_not() -> None:
    reader = following(b"ta", b"tb")
    assert not reader.sync.offer(reader.server.history[:1])
    assert reader.sync.offer(reader.server.append(b"tc"))
    overlapping = [*reader.server.history[-1:], *reader.server.append(b"td")]
    assert reader.sync.offer(overlapping)
    assert (reader.sync.tail, reader.sync.phase, reader.reads) == (4, Phase.FOLLOWING, 1)


def test_a_gap_is_read_from_the_log() -> None:
    reader = following(b"ta")
    reader.server.append(b"tb")
    reader.offer(reader.server.append(b"tc"))
    assert (reader.sync.tail, reader.sync.phase) == (1, Phase.READING)
    reader.settle()
    assert (reader.sent, reader.sync.phase) == (reader.server.history, Phase.FOLLOWING)


def test_what_comes_while_the_log_is_read_is_taken_after_it() -> None:
    reader = following(b"ta")
    reader.sync.mark_stale()
    reader.step()
    reader.step()  # the reply, without the next entry, is on its way
    reader.offer(reader.server.append(b"tb"))
    assert reader.sync.tail == 1
    reader.settle()
    assert (reader.sync.tail, reader.reads) == (2, 2)


def test_what_may_be_missed_while_the_log_is_read_makes_it_read_again() -> None:
    reader = following(b"ta")
    reader.sync.mark_stale()
    reader.sync.mark_stale()  # before the read has begun: it will see all
    reader.step()
    reader.step()
    reader.server.append(b"tb")
    reader.sync.mark_stale()
    assert reader.sync.phase is Phase.STALE
    reader.settle()
    assert (reader.sync.tail, reader.reads) == (2, 3)


def test_publications_without_room_are_read_from_the_log() -> None:
    reader = following(b"ta")
    reader.sync.mark_stale()
    reader.step()
    reader.step()
    for _ in range(MAX_KEPT + 5):
        reader.offer(reader.server.append(b"tx"))
    assert reader.sync.phase is Phase.STALE
    reader.settle()
    assert (reader.sync.tail, reader.reads) == (MAX_KEPT + 6, 3)


def test_what_a_server_lost_while_the_log_was_read_is_never_taken() -> None:
    reader = following(b"ta")
    reader.sync.mark_stale()
    reader.step()
    reader.offer(reader.server.append(b"tb"))
    del reader.server.history[1:]
    reader.server.restarts += 1
    reader.settle()
    assert (reader.sync.tail, reader.sent, reader.resets) == (1, reader.server.history, 0)


def test_a_stream_that_is_gone_is_reported() -> None:
    reader = following(b"ta")
    reader.server.exists = False
    reader.sync.mark_stale()
    assert reader.reading is not None
    reader.step()
    reader.step()
    with pytest.raises(StopIteration) as done:
        reader.reading.send(None)
    assert done.value.value is False


def test_a_closed_sync_takes_nothing_and_keeps_nothing() -> None:
    reader = in_phase(Phase.CLOSED)
    assert not reader.sync.offer(reader.server.append(b"tb"))
    reader.sync.mark_stale()
    assert (reader.reading, reader.window.size_bytes, reader.sync.tail) == (None, 0, 1)


def test_a_log_that_was_rewritten_is_noticed_though_its_last_segment_is_in_memory_no_more() -> None:
    """Read/Resting, Read/Rewritten: another attempt has written as many entries and the same end."""
    reader = following(*[b"ta"] * (SEGMENT_ENTRIES * 2), END)
    reader.window.forget("s")
    first = Segment(0)
    first.extend(reader.server.history[:SEGMENT_ENTRIES])
    reader.window.put("s", first)  # as a reader leaves it that came from the start and left in the middle
    reader.sync.rest()
    reader.server.history = [each._replace(epoch=2) for each in reader.server.history]
    reader.reading = reader.sync.refresh()
    reader.settle()
    assert (reader.resets, reader.sent) == (1, reader.server.history)


def test_words_are_noted() -> None:
    reader = following(b's{"epoch":1}')
    assert not reader.sync.has_word
    reader.offer(reader.server.append(b"ta"))
    assert reader.sync.has_word


def test_what_came_during_a_read_that_is_stale_is_not_added_to_what_it_read() -> None:
    """Read/Rewritten: the reply was on its way when the server lost an entry, and another attempt wrote two."""
    reader = following(b"ta")
    server = reader.server
    server.append(b"tb")
    reader.sync.mark_stale()
    reader.step()
    reader.step()  # the reply with `tb` is on its way
    del server.history[1:]
    server.restarts += 1
    server.epoch += 1
    reader.sync.mark_stale()
    server.append(b"tc")
    reader.offer(server.append(END))
    reader.settle()
    assert (reader.sent, reader.sync.ended) == (server.history, True)


def test_the_pages_of_one_read_are_of_one_history() -> None:
    """Read/Rewritten: the reply with the first page was on its way when another attempt wrote its last entries anew."""
    server = Server()
    server.append(*[b"ta"] * (PAGE_ENTRIES + 300))
    reader = Reader(server)
    reader.step()
    reader.step()
    del server.history[PAGE_ENTRIES - 24 :]
    server.restarts += 1
    server.epoch += 1
    server.append(*[b"tb"] * 500)
    reader.sync.mark_stale()
    reader.settle()
    assert (reader.sent, reader.resets) == (server.history, 1)


class AnyOrder(RuleBasedStateMachine):
    """Appends, lost and late publications, reads that fail, and servers that lose writes, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.server = Server()
        self.server.append(b"s{}")
        self.reader = Reader(self.server)
        self.on_their_way: list[list[Stored]] = []
        self.appended = 0
        self.unwritten: list[bytes] = []  # what the attempt has to write again before anything else

    @precondition(lambda self: not self.server.ended)
    @rule(count=st.integers(1, 3), is_lost=st.booleans())
    def append(self, count: int, is_lost: bool) -> None:
        self.appended += 1
        entries = self.server.append(*(self.unwritten or [b"t%d" % self.appended] * count))
        self.unwritten = []
        if is_lost:
            self.on_their_way.clear()  # the feed's connection breaks, and whatever is in it
            self.reader.sync.mark_stale()
        else:
            self.on_their_way.append(entries)

    @precondition(lambda self: not self.server.ended and not self.unwritten)
    @rule()
    def end(self) -> None:
        self.on_their_way.append(self.server.append(END))

    @precondition(lambda self: self.on_their_way)
    @rule()
    def deliver(self) -> None:
        self.reader.offer(self.on_their_way.pop(0))

    @precondition(lambda self: self.reader.reading)
    @rule()
    def read(self) -> None:
        self.reader.step()

    @rule()
    def look(self) -> None:
        self.reader.sync.mark_stale()

    @rule(data=st.data(), same_attempt=st.booleans())
    def lose_writes(self, data: st.DataObject, same_attempt: bool) -> None:
        """Restart the server with a shorter log; the same attempt writes the same again, another one does not."""
        kept = data.draw(st.integers(1, len(self.server.history)))
        lost = self.server.history[kept:]
        del self.server.history[kept:]
        self.server.restarts += 1
        self.on_their_way.clear()
        # An attempt writes its own entries again; where more is lost, it gives up.
        if same_attempt and lost and lost[0].epoch == self.server.epoch:
            written = data.draw(st.integers(0, len(lost)))
            self.server.append(*[entry.content for entry in lost[:written]])
            self.unwritten = [*(entry.content for entry in lost[written:]), *self.unwritten]
        else:
            self.server.epoch += 1
            self.unwritten = []
        self.reader.sync.mark_stale()

    @invariant()
    def no_phase_is_stuck(self) -> None:
        is_reading = self.reader.sync.phase in (Phase.READING, Phase.STALE)
        assert is_reading == (self.reader.reading is not None)

    def teardown(self) -> None:
        """Let all that is under way arrive, then one look: what was sent is the log, and its end."""
        for entries in self.on_their_way:
            self.reader.offer(entries)
        self.reader.settle()
        self.reader.sync.mark_stale()
        self.reader.settle()
        sync = self.reader.sync
        if sync.tail == len(self.server.history):
            assert (self.reader.sent, sync.ended) == (self.server.history, self.server.ended)
        else:  # the same attempt has not written again yet what it will write
            assert (self.server.ended, self.reader.sent[: len(self.server.history)]) == (False, self.server.history)


AnyOrder.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAnyOrder = AnyOrder.TestCase
