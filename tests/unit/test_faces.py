"""All faces are held to the same properties. A new face goes into CASES, with a reader of its format."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import midstream.faces
from midstream.faces.chat import ChatFace
from midstream.faces.face import Face, MergingFace
from midstream.faces.messages import MessagesFace
from midstream.faces.native import NativeFace
from midstream.faces.native_objects import NativeObjectsFace
from midstream.faces.objects import ObjectsFace
from midstream.faces.responses import ResponsesFace
from midstream.faces.thread import ThreadFace
from midstream.faces.thread_objects import ThreadObjectsFace
from midstream.faces.ui_messages import UiMessagesFace
from midstream.faces.ui_objects import UiObjectsFace
from midstream.log.entries import COMPLETED, OUTCOMES, Entry
from midstream.log.merging import merge
from tests.unit.face_readers import (
    Documents,
    Reading,
    documents_of_events,
    documents_of_list,
    read_chat,
    read_entries,
    read_messages,
    read_responses,
    read_ui_messages,
)
from tests.unit.random_answers import answers, stored

STREAM_ID = "0123456789abcdef0123456789abcdef"
ECHO = '{"model":"m"}'


@dataclass(frozen=True)
class Case:
    """A face of a stream, how its frames are read, and whether it can take back what it has sent."""

    make: Callable[[str], Face[Any]]
    read: Callable[[Documents], Reading]
    takes_back: bool
    documents: Callable[[bytes], Documents] = documents_of_events


CASES = {
    "native": Case(lambda _: NativeFace(), read_entries, takes_back=True),
    "native, of a thread": Case(ThreadFace, read_entries, takes_back=True),
    "native, with the value": Case(lambda _: NativeObjectsFace(NativeFace(), 1_000), read_entries, takes_back=True),
    "AI SDK 7, with the value": Case(
        lambda stream: UiObjectsFace(UiMessagesFace("m", stream[:8], 7), 1_000), read_ui_messages, takes_back=True
    ),
    "objects": Case(lambda _: ObjectsFace(), read_entries, takes_back=True, documents=documents_of_list),
    "objects, of a thread": Case(ThreadObjectsFace, read_entries, takes_back=True, documents=documents_of_list),
    "chat": Case(lambda stream: ChatFace(stream, 0, "m"), read_chat, takes_back=False),
    "chat with usage": Case(lambda stream: ChatFace(stream, 0, "m", include_usage=True), read_chat, takes_back=False),
    "messages": Case(lambda stream: MessagesFace(stream, "m"), read_messages, takes_back=False),
    "responses": Case(lambda stream: ResponsesFace(stream, 0, ECHO), read_responses, takes_back=True),
    "responses, background": Case(
        lambda stream: ResponsesFace(stream, 0, ECHO, background=True, encrypted=True), read_responses, takes_back=True
    ),
    "AI SDK 6": Case(lambda stream: UiMessagesFace("m", stream[:8], 6), read_ui_messages, takes_back=False),
    "AI SDK 7": Case(lambda stream: UiMessagesFace("m", stream[:8], 7), read_ui_messages, takes_back=True),
}

of_every_face = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
of_merging_faces = pytest.mark.parametrize(
    "name", ["native", "objects", "objects, of a thread", "AI SDK 6", "AI SDK 7"]
)
some = settings(max_examples=25)  # of each face

outcomes = st.sampled_from(OUTCOMES)


def end(outcome: str = COMPLETED) -> Entry:
    error = {"code": "idle_timeout", "message": "Nothing came."} if outcome == "failed" else None
    reason = "stop" if outcome == COMPLETED else None
    usage = {"input_tokens": 1, "output_tokens": 2, "details": {"cached_tokens": 1}}
    data = {"outcome": outcome, "finish_reason": reason, "error": error, "usage": usage, "timings": {"total_ms": 1}}
    return Entry("end", data)


RESET = Entry("reset", {"reason": "restarting"})


def text_of(entries: list[Entry]) -> str:
    return "".join(entry.text for entry in entries if entry.type == "text")


def frames_of(face: Face[Any], entries: list[Entry]) -> list[bytes]:
    """Return the frames of a log. Making one leaves its state as it was, so it can be made again."""
    state, frames = face.begin(), []
    for entry in stored(entries):
        before = repr(state)
        frame, after = face.frame(entry, state)
        assert repr(state) == before
        assert face.frame(entry, state) == (frame, after)
        frames.append(frame)
        state = after
    return frames


def merged_frames_of(face: MergingFace[Any], entries: list[Entry], after: int = 0) -> tuple[list[bytes], Any]:
    """Return the frames of the log after an offset in merged entries, and the state after them."""
    log = stored(entries)
    state, frames, last = face.begin(), [], after
    for entry in log[:after]:
        _, state = face.frame(entry, state)
    for entry in merge(log[after:]):
        frame, state = face.merged_frame(last + 1, entry, state)
        frames.append(frame)
        last = entry.offset
    return frames, state


def read(case: Case, frames: list[bytes]) -> Reading:
    """Return what a client makes of frames, each of which is whole."""
    return case.read([document for frame in frames for document in case.documents(frame)])


def test_every_face_is_held_to_these_properties() -> None:
    rooms = [import_module(f"midstream.faces.{module.name}") for module in iter_modules(midstream.faces.__path__)]
    faces = {name for room in rooms for name in vars(room) if name.endswith("Face")} - {"Face", "MergingFace"}
    assert faces == {type(case.make(STREAM_ID)).__name__ for case in CASES.values()}


@of_every_face
@some
@given(answer=answers)
def test_the_text_of_its_frames_is_the_logs_text(case: Case, answer: list[Entry]) -> None:
    """I5."""
    reading = read(case, frames_of(case.make(STREAM_ID), [*answer, end()]))
    assert reading == Reading(text_of(answer), successes=1)


@of_merging_faces
@some
@given(answer=answers, second=answers, resets=st.booleans(), after=st.integers(0, 25))
def test_merged_entries_are_the_same_to_a_client(
    name: str, answer: list[Entry], second: list[Entry], resets: bool, after: int
) -> None:
    """I5, Read/Coalesced."""
    case = CASES[name]
    face = cast("MergingFace[Any]", case.make(STREAM_ID))
    entries = [*answer, *([RESET] if resets else []), *second, end()]
    after = min(after, len(entries))
    plain = frames_of(face, entries)
    merged, state = merged_frames_of(face, entries, after)
    assert read(case, [*plain[:after], *merged]) == read(case, plain)
    assert state == reduce(lambda before, entry: face.frame(entry, before)[1], stored(entries), face.begin())
    assert len(merged) <= len(plain) - after


@of_every_face
@some
@given(answer=answers, outcome=outcomes)
def test_it_ends_once_and_as_the_stream_did(case: Case, answer: list[Entry], outcome: str) -> None:
    """I3."""
    frames = frames_of(case.make(STREAM_ID), [*answer, end(outcome)])
    last, whole = read(case, frames), read(case, frames[:-1])
    assert (last.successes, last.failures) == ((1, 0) if outcome == COMPLETED else (0, 1))
    assert (whole.successes, whole.failures) == (0, 0)


@of_every_face
@some
@given(answer=answers, second=answers)
def test_after_a_reset_it_sends_the_new_text_or_fails(case: Case, answer: list[Entry], second: list[Entry]) -> None:
    """I5, Faces/Never silent."""
    frames = frames_of(case.make(STREAM_ID), [*answer, RESET, *second, end()])
    reading = read(case, frames)
    if reading.failures:
        assert not case.takes_back
        assert (reading.successes, reading.failures, any(frames[len(answer) + 1 :])) == (0, 1, False)
    else:
        assert reading == Reading(text_of(second), successes=1)


@of_every_face
def test_only_a_face_that_cannot_take_back_a_text_fails_at_a_reset(case: Case) -> None:
    """Chat/Anew, Completions/Entries, Messages/Entries, Responses/Entries."""
    reading = read(case, frames_of(case.make(STREAM_ID), [Entry("text", {"text": "one"}), RESET, end()]))
    assert reading.failures == (0 if case.takes_back else 1)


@of_every_face
@some
@given(answer=answers)
def test_equal_faces_make_the_same_frames(case: Case, answer: list[Entry]) -> None:
    """Read/Memory: they share them."""
    one, same, other = (case.make(stream_id) for stream_id in (STREAM_ID, STREAM_ID, "f" * 32))
    entries = [*answer, end()]
    assert (one, hash(one)) == (same, hash(same))
    assert frames_of(one, entries) == frames_of(same, entries)
    assert (one == other) == (frames_of(one, entries) == frames_of(other, entries))


@of_every_face
def test_a_call_that_lacks_something_is_no_failure(case: Case) -> None:
    """Entries/Calls."""
    lacking: list[dict[str, Any]] = [{"id": "", "name": "", "delta": "{"}, {"arguments": "{}"}, {"id": None, "name": 1}]
    calls = [Entry(kind, data) for data in lacking for kind in ("tool_input", "tool_call")]
    log = [Entry("text", {"text": "a"}), *calls, Entry("text", {"text": "b"}), end()]
    reading = read(case, frames_of(case.make(STREAM_ID), log))
    assert reading == Reading("ab", successes=1)


@of_every_face
@pytest.mark.parametrize("reason", ["cursor_ahead", "rewritten", "deleted", "gone"])
def test_what_is_not_in_the_log_never_looks_like_success(case: Case, reason: str) -> None:
    """Read/Truthful, Faces/Never silent."""
    face = case.make(STREAM_ID)
    assert read(case, [face.heartbeat]) == Reading()
    for frame in (face.broker_stop(1_000), face.credential_end("token_expired"), face.reset(reason)):
        assert frame
        assert read(case, [frame]).successes == 0
