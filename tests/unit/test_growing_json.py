"""The value of a JSON text so far is valid at every step, and only grows (PROTOCOL: Structured/Partial)."""

import json
import random
from typing import Any

import orjson

from midstream.faces.growing_json import GrowingJson, partial_value
from midstream.faces.native import NativeFace
from midstream.faces.native_objects import NativeObjectsFace
from midstream.faces.ui_messages import UiMessagesFace
from midstream.faces.ui_objects import UiObjectsFace
from midstream.log.entries import DATA, RESET, TEXT, Entry, Stored, encode, text

DOCUMENTS = 1_000
SCALARS = (1, -2.5e10, 1e-7, 123456789, True, False, None, "", 'a "b" \\ \n é 😀 \u2028', "12e", "\\u00e9", 0, "tru")
KEYS = ("a", 'b"', "é😀", "k\\", "1e5", "nul")
STYLES: tuple[dict[str, Any], ...] = ({}, {"ensure_ascii": False}, {"indent": 2}, {"separators": (",", ":")})


def value(draw: random.Random, depth: int) -> Any:
    kind = draw.random()
    if depth and kind < 0.5:
        return {draw.choice(KEYS) + str(number): value(draw, depth - 1) for number in range(draw.randint(0, 4))}
    if depth and kind < 0.7:
        return [value(draw, depth - 1) for _ in range(draw.randint(0, 4))]
    return draw.choice(SCALARS)


def grows(before: Any, after: Any) -> bool:
    """Tell whether a value can have become another one by more of its text."""
    if type(before) is not type(after):
        return False
    if isinstance(before, str):
        return bool(after.startswith(before))
    if isinstance(before, list):
        pairs = list(zip(before, after, strict=False))
        return len(before) <= len(after) and all(map(grows, *zip(*pairs, strict=True))) if pairs else not before
    if isinstance(before, dict):
        return list(after)[: len(before)] == list(before) and all(grows(before[key], after[key]) for key in before)
    return bool(before == after)


def stored(offset: int, entry: Entry) -> Stored:
    return Stored(offset, 1, encode(entry))


def partials(frames: list[bytes]) -> list[Any]:
    datas = [line[6:] for frame in frames for line in frame.split(b"\n") if line.startswith(b"data: ")]
    return [data["partial"] for data in map(orjson.loads, datas) if "partial" in data]


def test_a_thousand_documents_grow_validly_over_random_deltas() -> None:
    """In each frame of the native face: valid, grown from the frame before, and in the end the document."""
    draw = random.Random(1)  # noqa: S311
    for number in range(DOCUMENTS):
        document = {"root": value(draw, 3)} if number % 2 else [value(draw, 3), value(draw, 2)]
        whole = json.dumps(document, **STYLES[number % len(STYLES)])
        cuts = sorted(draw.choices(range(len(whole)), k=draw.randint(0, 30)))
        pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
        face, state, before = NativeObjectsFace(NativeFace(), 65_536), GrowingJson(), type(document)()
        for offset, piece in enumerate(pieces, 1):
            frame, state = face.frame(stored(offset, text(piece)), state)
            for now in partials([frame]):
                assert grows(before, now), f"{before} became {now}"
                assert grows(now, document)
                before = now
        end: dict[str, Any] = {
            "outcome": "completed",
            "finish_reason": "stop",
            "error": None,
            "usage": None,
            "timings": {},
        }
        frame, state = face.frame(stored(len(pieces) + 1, Entry("end", end)), state)
        assert [before, *partials([frame])][-1] == document


def test_a_long_value_is_sent_ever_more_rarely_and_then_no_more() -> None:
    whole = json.dumps({"items": [{"name": "x" * 20, "number": number} for number in range(1_000)]})
    pieces = [whole[at : at + 5] for at in range(0, len(whole), 5)]
    sent_bytes = {}
    for limit_bytes in (10**6, 1_000):
        face, state, frames = NativeObjectsFace(NativeFace(), limit_bytes), GrowingJson(), []
        for offset, piece in enumerate(pieces, 1):
            frame, state = face.frame(stored(offset, text(piece)), state)
            frames.append(frame)
        sent_bytes[limit_bytes] = sum(len(orjson.dumps(each)) for each in partials(frames))
    assert 10 * len(whole) < sent_bytes[10**6] < 50 * len(whole)
    assert 0 < sent_bytes[1_000] < 50 * 1_000


def test_what_is_no_json_has_no_value() -> None:
    for words in ("", "Sure! Here", '{"a":1,}x', "[" * 5_000, '{"a": NaN', '{"a": 123456789012345678901234, "b'):
        assert partial_value(words.encode()) is None


def test_the_value_is_a_part_before_the_text_whose_cursor_it_has() -> None:
    face = UiObjectsFace(UiMessagesFace("m", "tag"), 1_000)
    state, got = face.begin(), []
    log = [
        Entry("start", {"epoch": 1, "model": "m"}),
        text('{"a": "x'),
        text('y"'),
        Entry(DATA, {"kind": "k"}),
        text("}"),
    ]
    for offset, entry in enumerate([*log, Entry(RESET, {"reason": "restarting"}), text("[1,")], 1):
        frame, state = face.frame(stored(offset, entry), state)
        got.append(frame)
    events = [frame.split(b"\n\n")[0] for frame in got if b"data-object" in frame]
    assert [orjson.loads(event[6:])["data"] for event in events[:3]] == [{"a": "x"}, {"a": "xy"}, {"a": "xy"}]
    assert all(frame.rsplit(b"\n\n", 2)[1].startswith(b"id: tag.") for frame in got if b"data-object" in frame)


def test_a_reset_begins_a_new_value() -> None:
    face, state = NativeObjectsFace(NativeFace(), 1_000), GrowingJson()
    frames = []
    for offset, entry in enumerate((text('{"a": 1'), Entry(RESET, {"reason": "r"}), text("[true")), 1):
        frame, state = face.frame(stored(offset, entry), state)
        frames.append(frame)
    assert partials(frames) == [{}, []]
    assert TEXT.encode() in frames[0]
