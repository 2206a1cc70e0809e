"""The event stream parser against the WHATWG algorithm. PROTOCOL: Read/Frames."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from midstream.client import sse_parser
from midstream.client.sse_parser import EventStreamParser, EventTooLargeError, ServerSentEvent

LINE_ENDS = st.sampled_from(("\n", "\r", "\r\n"))
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=8)
FIELDS = st.builds("{}{}{}".format, st.sampled_from(("data", "event", "id", "retry", "", "other")), st.just(":"), TEXT)
LINES = st.one_of(st.just(""), TEXT, FIELDS)
STREAMS = st.lists(st.tuples(LINES, LINE_ENDS)).map(lambda lines: "".join(map("".join, lines)).encode())


def parse(*chunks: bytes) -> list[ServerSentEvent]:
    parser = EventStreamParser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


def cut(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(place % (len(stream) + 1) for place in cuts), len(stream)]
    return [stream[start:end] for start, end in pairwise(places)]


@given(stream=STREAMS, cuts=st.lists(st.integers(0, 10_000), max_size=12))
@example(stream=b"data: a\r\n\r\ndata: b\r\n\r\n", cuts=[8, 10, 12])
@example(stream="data: \U0001f30a\n\n".encode(), cuts=[7, 8, 9])
def test_any_chunking_gives_the_same_events(stream: bytes, cuts: list[int]) -> None:
    assert parse(*cut(stream, cuts)) == parse(stream)


@given(stream=STREAMS)
def test_byte_by_byte_gives_the_same_events_as_all_at_once(stream: bytes) -> None:
    assert parse(*(bytes([byte]) for byte in stream)) == parse(stream)


@given(texts=st.lists(TEXT.filter(lambda text: "\0" not in text), min_size=1), end=LINE_ENDS)
def test_what_is_framed_comes_out(texts: list[str], end: str) -> None:
    stream = "".join(f"id: {n}{end}event: text{end}data: {text}{end}{end}" for n, text in enumerate(texts, 1))
    expected = [ServerSentEvent("text", text, str(n)) for n, text in enumerate(texts, 1)]
    assert parse(stream.encode()) == expected


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [("message", "YHOO\n+2\n10", "")]),
        (b": comment\n\ndata: one\nid: 1\n\ndata:two\nid\n\n", [("message", "one", "1"), ("message", "two", "")]),
        (b"data\n\ndata\ndata\n\ndata:", [("message", "", ""), ("message", "\n", "")]),
        (b"data:x\n\ndata: x\n\ndata:  x\n\n", [("message", "x", ""), ("message", "x", ""), ("message", " x", "")]),
        (b"event: text\n\ndata: typed no more\n\n", [("message", "typed no more", "")]),
        (b"id: 7\ndata: a\n\ndata: b\n\n", [("message", "a", "7"), ("message", "b", "7")]),
        (b"id: 7\ndata: a\n\nid: 8\x009\ndata: b\n\n", [("message", "a", "7"), ("message", "b", "7")]),
        (b"\xef\xbb\xbfdata: after a BOM\n\n", [("message", "after a BOM", "")]),
        (b"data: never ended", []),
        (b"data: \xff\n\n", [("message", "\ufffd", "")]),
    ],
)
def test_the_standards_own_cases(stream: bytes, expected: list[tuple[str, str, str]]) -> None:
    assert [(event.type, event.data, event.id) for event in parse(stream)] == expected


@pytest.mark.parametrize(
    ("value", "retry_ms"), [(b"250", 250), (b"2.5", None), (b"soon", None), (b"", None), (b"9" * 5_000, None)]
)
def test_retry_is_taken_from_digits_alone(value: bytes, retry_ms: int | None) -> None:
    parser = EventStreamParser()
    parser.feed(b"retry: " + value + b"\n\n")
    assert parser.retry_ms == retry_ms


def test_an_event_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse_parser, "MAX_EVENT_CHARS", 1_000)
    parser = EventStreamParser()
    for _ in range(100):
        assert parser.feed(b"data: small\n\n")
    with pytest.raises(EventTooLargeError):
        parse(*[b"data: without end "] * 100)
