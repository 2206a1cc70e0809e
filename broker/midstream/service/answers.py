"""What a stream has come to, read from its log: for whoever wants the answer whole rather than as it grows."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

from midstream.faces.responses import ResponsesFace
from midstream.faces.responses_output import ResponsesState
from midstream.log.entries import DATA, END, REASONING, RESET, SOURCE, TEXT, TOOL_CALL, Stored, decode
from midstream.service.services import House

READ_PAGE: Final = 1_000


@dataclass
class Answer:
    """What came behind the last `reset`; `end` is the terminal entry's data, None while there is none."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    sources: list[dict[str, Any]] = field(default_factory=list)
    end: dict[str, Any] | None = None


async def answer(house: House, stream_id: str) -> Answer:
    """Return what a stream has said."""
    pieces: dict[str, list[str]] = {TEXT: [], REASONING: [], DATA: []}
    said = Answer()
    async for row in entries(house, stream_id):
        entry = decode(row.content, row.offset, row.epoch)
        if entry.type in (TEXT, REASONING):
            pieces[entry.type].append(entry.text)
        elif entry.type == DATA and entry.data.get("kind") == "refusal":
            pieces[DATA].append(str(entry.data["text"]))
        elif entry.type == TOOL_CALL:
            said.calls.append(entry.data)
        elif entry.type == SOURCE:
            said.sources.append(entry.data)
        elif entry.type == RESET:
            said = Answer()
            pieces = {kind: [] for kind in pieces}
        elif entry.type == END:
            said.end = entry.data
    said.text, said.reasoning, said.refusal = ("".join(pieces[kind]) for kind in (TEXT, REASONING, DATA))
    return said


async def response(
    house: House, stream_id: str, face: ResponsesFace, *, behind: int | None = None
) -> tuple[ResponsesState, list[bytes], int]:
    """Return a response's course so far, its events numbered above `behind`, and the offset of its last entry."""
    course: ResponsesState = face.begin()
    kept: list[bytes] = []
    last = 0
    async for row in entries(house, stream_id):
        first, last = course.sequence, row.offset
        events, course = face.events(row, course)
        if behind is not None:
            kept += events[max(0, behind + 1 - first) :]
    return course, kept, last


async def entries(house: House, stream_id: str) -> AsyncIterator[Stored]:
    """Yield all entries that there are, a page at a time."""
    after = 0
    while True:
        _, page = await house.log.read(stream_id, after, READ_PAGE)
        for row in page:
            yield row
        if len(page) < READ_PAGE:
            return
        after = page[-1].offset
