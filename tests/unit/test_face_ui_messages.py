"""The AI SDK face by itself: what it says behind a `reset` (PROTOCOL: Chat/Anew)."""

from typing import Any

from midstream.faces.ui_messages import UiMessagesFace
from midstream.log.entries import Entry, Stored, encode

ATTEMPTS: list[tuple[str, dict[str, Any]]] = [
    ("start", {"epoch": 1, "model": "m"}),
    ("text", {"text": "one"}),
    ("tool_input", {"id": "c1", "name": "f", "delta": "{"}),
    ("start", {"epoch": 2, "model": "m"}),
    ("reset", {"reason": "restarting"}),
    ("status", {"state": "restarting", "paid": True}),
    ("text", {"text": "two"}),
    ("end", {"outcome": "completed", "finish_reason": "stop", "error": None}),
]
LOG = [Stored(offset, 1, encode(Entry(kind, data))) for offset, (kind, data) in enumerate(ATTEMPTS, 1)]


def frames_of(face: UiMessagesFace, log: list[Stored] = LOG) -> list[bytes]:
    state, frames = face.begin(), []
    for entry in log:
        frame, state = face.frame(entry, state)
        frames.append(frame)
    return frames


def spoken(face: UiMessagesFace, log: list[Stored] = LOG) -> bytes:
    return b"".join(frames_of(face, log))


def test_a_reset_takes_the_step_back_where_the_client_can() -> None:
    said = spoken(UiMessagesFace("m1", "tag", major=7))
    assert b'"reset-step"' in said
    assert said.count(b'"start"') == 1
    assert said.index(b'"one"') < said.index(b"reset-step") < said.index(b'"two"')


def test_a_reset_is_an_error_to_a_client_that_cannot_and_its_replay_is_the_new_text_alone() -> None:
    said = spoken(UiMessagesFace("m1", "tag"))
    assert said.endswith(b"data: [DONE]\n\n")
    assert b"event: reset\ndata: {" in said
    assert b"text-end" in said
    assert b'"two"' not in said
    replayed = spoken(UiMessagesFace("m1", "tag", anew=5))
    assert b'"one"' not in replayed
    assert replayed.startswith(b'data: {"type":"start","messageId":"m1"}\n\n')
    assert replayed.index(b'"two"') < replayed.index(b'"finish"')


def test_a_reset_of_nothing_shown_is_not_told() -> None:
    said = spoken(UiMessagesFace("m1", "tag"), [LOG[0], *LOG[3:]])
    assert b"event: reset" not in said
    assert b"reset-step" not in said
    assert b'"two"' in said


def test_what_is_resumed_behind_a_reset_goes_on_with_the_parts_that_are_open() -> None:
    live = frames_of(UiMessagesFace("m1", "tag", major=7))
    resumed = frames_of(UiMessagesFace("m1", "tag", major=7, anew=5))
    assert live[5:] == resumed[5:]
