"""What a stream's log, and its state, tell of its attempts (PROTOCOL: Operate/Stream)."""

from dataclasses import replace

from midstream.log.entries import Entry, Stored, Timed, encode, text
from midstream.log.past import PastAttempt
from midstream.log.state import State
from midstream.operate.course import Course
from midstream.operate.why import Evidence, why
from midstream.settings import Settings

NOW = 1_000_000
START = Entry("start", {"epoch": 1, "model": "demo/x"})


def course(*entries: tuple[Entry, int]) -> Course:
    """Return the course of entries with the times of their appends before now, in ms."""
    made = Course()
    made.add(Timed(Stored(offset, 1, encode(entry)), NOW - ago_ms) for offset, (entry, ago_ms) in enumerate(entries, 1))
    return made


def test_a_course_tells_gaps_first_word_and_usage() -> None:
    """Operate/Stream."""
    made = course((START, 9_000), (text("a"), 8_000), (text("b"), 3_000), (Entry("usage", {"output_tokens": 2}), 2_900))
    assert (made.longest_gap_ms, made.longest_gap_after) == (5_000, 2)
    assert made.first_word_ms == NOW - 8_000
    assert made.usage == {"output_tokens": 2}
    made.add([Timed(Stored(900, 1, encode(text("z"))), NOW)])
    assert made.longest_gap_ms == 5_000, "entries between these two were left out"


def test_the_past_of_a_state_is_parsed_even_if_its_beginning_was_cut() -> None:
    """Operate/Stream."""
    lines = b"ost 123 half\n2 lost 456 w.x\n3 handed_over 789 v.y\n"
    assert PastAttempt.parse(lines) == (PastAttempt(2, "lost", 456, "w.x"), PastAttempt(3, "handed_over", 789, "v.y"))
    assert PastAttempt.parse(None) == ()


def test_a_running_stream_tells_of_the_workers_that_it_has_lost() -> None:
    """Operate/Why: it may be what kills them."""
    state = State(status="running", model="demo/x", epoch=2, intent=2, tail=2, lease_until_ms=NOW + 1_000)
    facts = Evidence(state=state, now_ms=NOW, course=course((START, 9_000), (text("a"), 8_000)), settings=Settings())
    assert "waits on attempt 2;" in why(facts)
    assert "waits on attempt 2 (1 worker lost before);" in why(replace(facts, past=(PastAttempt(1, "lost", 1, "w.x"),)))
