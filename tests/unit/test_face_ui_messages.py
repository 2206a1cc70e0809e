"""The AI SDK face by itself: what it sends after a `reset` (PROTOCOL: Chat/Anew)."""

from midstream.faces.ui_messages import UiMessagesFace
from midstream.log.entries import Entry, Stored, encode

ATTEMPTS = [
    Entry("start", {"epoch": 1, "model": "m"}),
    Entry("text", {"text": "one"}),
    Entry("tool_input", {"id": "c1", "name": "f", "delta": "{"}),
    Entry("start", {"epoch": 2, "model": "m"}),
    Entry("reset", {"reason": "restarting"}),
    Entry("status", {"state": "restarting", "paid": True}),
    Entry("text", {"text": "two"}),
    Entry("end", {"outcome": "completed", "finish_reason": "stop", "error": None}),
]
LOG = [Stored(offset, 1, encode(entry)) for offset, entry in enumerate(ATTEMPTS, 1)]


def frames_of(face: UiMessagesFace, log: list[Stored] = LOG) -> list[bytes]:
    state, frames = face.begin(), []
    for entry in log:
        frame, state = face.frame(entry, state)
        frames.append(frame)
    return frames


def message_of(face: UiMessagesFace, log: list[Stored] = LOG) -> bytes:
    return b"".join(frames_of(face, log))


def test_a_reset_takes_the_step_back_where_the_client_can() -> None:
    message = message_of(UiMessagesFace("m1", "tag", major=7))
    assert b'"reset-step"' in message
    assert message.count(b'"start"') == 1
    assert message.index(b'"one"') < message.index(b"reset-step") < message.index(b'"two"')


def test_a_reset_is_an_error_to_a_client_that_cannot_and_its_replay_is_the_new_text_alone() -> None:
    message = message_of(UiMessagesFace("m1", "tag"))
    assert message.endswith(b"data: [DONE]\n\n")
    assert b"event: reset\ndata: {" in message
    assert b"text-end" in message
    assert b'"two"' not in message
    replay = message_of(UiMessagesFace("m1", "tag", after_reset=5))
    assert b'"one"' not in replay
    assert replay.startswith(b'data: {"type":"start","messageId":"m1"}\n\n')
    assert replay.index(b'"two"') < replay.index(b'"finish"')


def test_a_reset_is_not_sent_to_a_client_that_was_sent_nothing() -> None:
    message = message_of(UiMessagesFace("m1", "tag"), [LOG[0], *LOG[3:]])
    assert b"event: reset" not in message
    assert b"reset-step" not in message
    assert b'"two"' in message


def test_a_replay_that_begins_at_a_reset_goes_on_as_a_live_tail_does() -> None:
    live = frames_of(UiMessagesFace("m1", "tag", major=7))
    replay = frames_of(UiMessagesFace("m1", "tag", major=7, after_reset=5))
    assert live[5:] == replay[5:]
