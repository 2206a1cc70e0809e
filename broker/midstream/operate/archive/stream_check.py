"""Whether a stream of an archive is one that could have been here (PROTOCOL: Archive/Checks).

An archive may come from anybody: nothing of it is believed that could be checked.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from midstream.access.limit_settings import LONGEST_S
from midstream.log.entries import CALL_FIELDS, END, OUTCOMES, decode
from midstream.log.errors import NewerFormat
from midstream.log.keys import tenant_of
from midstream.log.past import PastAttempt
from midstream.log.state import FIELDS, State
from midstream.log.whole import WholeState
from midstream.operate.archive.archive_lines import MOST_NUMBER, ArchiveError, Bounds, Row, StreamDigest
from midstream.requests.request import GenerationRequest

CLOCK_MS: Final = 3_600_000
"""So far ahead of this server's clock may an end be: two servers' clocks differ."""
ENDING_ENTRIES: Final = 10_000
ENDING_BYTES: Final = 1_048_576
"""What the entries that belong to an end may have beyond the limits of a stream, which do not count them."""

_Name = Annotated[str, StringConstraints(pattern=r"^(?:[A-Za-z0-9_-]{1,64}/)?[A-Za-z0-9_-]{1,128}$")]
_FieldName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
_Offset = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,14}-[0-9]{1,15}$")]
_Time = Annotated[str, StringConstraints(pattern=r"^(?:e|[0-9]{1,15})$")]
_ROWS: Final = TypeAdapter(Annotated[list[tuple[_Offset, _Time, str]], Field(min_length=1)])


class _Chat(BaseModel):
    model_config = ConfigDict(extra="forbid")

    turn: str = Field(pattern=r"^[0-9]{1,15}$")
    digest: str
    stream: Literal[""] | _Name = ""
    seen: str = ""


class _Stream(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: _Name
    state: dict[_FieldName, str] = Field(max_length=100)
    chat: _Chat | None = None


@dataclass(slots=True)
class StreamCheck:
    """Checks a stream's entries as they come: dense, of types that exist, within the bounds, and an end at the end.

    Attributes:
        whole: Everything beside the entries.
        state: The same as the log's rooms read it.
        bounds: What an archive may hold.
        entries: How many entries have come.
    """

    whole: WholeState
    state: State
    bounds: Bounds
    entries: int = 0
    _size_bytes: int = 0
    _epoch: int = 0
    _is_over: bool = False
    _digest: StreamDigest = field(init=False)

    def __post_init__(self) -> None:
        """Begin the digest."""
        self._digest = StreamDigest(self.whole)

    def add(self, value: Any) -> list[Row]:
        """Return the entries of a line.

        Raises:
            ArchiveError: They do not fit.
        """
        try:
            rows = _ROWS.validate_python(value)
        except ValidationError:
            raise self._error("a line of entries holds something else") from None
        for row in rows:
            self._add(row)
            self._digest.add(row)
        most, most_bytes = self.bounds.stream_entries, self.bounds.stream_bytes
        if most and self.entries > most + ENDING_ENTRIES:
            raise self._error(f"it has more than {most} entries (MIDSTREAM_STREAM_ENTRIES)")
        if most_bytes and self._size_bytes > most_bytes + ENDING_BYTES:
            raise self._error(f"its entries have more than {most_bytes} bytes (MIDSTREAM_MAX_OUTPUT_BYTES)")
        return rows

    def _add(self, row: Row) -> None:
        offset, epoch = map(int, row[0].split("-"))
        if offset != self.state.first + self.entries:
            raise self._error(f"after the entry {self.state.first + self.entries - 1} comes {offset}")
        if self._is_over or not self._epoch <= epoch <= self.state.epoch:
            raise self._error(f"the entry {offset} comes after the end, or of an epoch that cannot be")
        content = row[2].encode()
        try:
            entry = decode(content, offset, epoch)
        except ValueError:
            raise self._error(f"the entry {offset} is none") from None
        if not all(isinstance(entry.data.get(field), str) for field in CALL_FIELDS.get(entry.type, ())):
            raise self._error(f"the entry {offset} is a call without its texts")
        self._is_over = entry.type == END
        if self._is_over and entry.data.get("outcome") != self.state.outcome:
            raise self._error("its end does not name its outcome")
        self._epoch = epoch
        self.entries += 1
        self._size_bytes += len(content)

    def close(self, value: Any) -> str:
        """Return the stream's digest, which the line of its end names.

        Raises:
            ArchiveError: Entries are missing, or the line names another number or digest.
        """
        if not self._is_over or self.state.first + self.entries - 1 != self.state.tail:
            raise self._error("entries are missing at its end")
        digest = self._digest.hex()
        if value != {"entries": self.entries, "sha256": digest}:
            raise ArchiveError("archive_mismatch", f"The stream {self.whole.name} does not fit its checksum.")
        return digest

    def _error(self, why: str) -> ArchiveError:
        return ArchiveError("bad_stream", f"The stream {self.whole.name}: {why}.")


def opened_stream(value: Any, bounds: Bounds) -> StreamCheck:
    """Return the check of a stream with this line.

    Raises:
        ArchiveError: The line does not fit.
    """
    try:
        line = _Stream.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        at = ".".join(map(str, first["loc"]))[:80]
        raise ArchiveError("bad_stream", f"A stream's line does not fit at {at!r}: {first['msg']}.") from None
    try:
        state = _state(line, bounds)
    except ValueError as error:
        raise ArchiveError("bad_stream", f"The stream {line.name}: {error}.") from None
    except NewerFormat as error:
        raise ArchiveError("archive_version", f"The stream {line.name}: {error}.") from None
    chat = line.chat.model_dump() if line.chat else {}
    return StreamCheck(WholeState(line.name, line.state, chat), state, bounds)


def _state(line: _Stream, bounds: Bounds) -> State:
    """Return a stream's state. Raises `ValueError` where it cannot be, and `NewerFormat`."""
    fields = line.state
    try:
        state = State.parse([fields[each].encode() if each in fields else None for each in FIELDS])
        GenerationRequest.model_validate_json(fields.get("request", ""))
        PastAttempt.parse(fields.get("past", "").encode())
        objects = [orjson.loads(fields.get(each) or "{}") for each in ("metadata", "origin")]
    except ValueError:
        raise ValueError("its state, request, metadata or origin cannot be read") from None
    if state is None or state.status != "ended" or state.outcome not in OUTCOMES:
        raise ValueError("it has not ended")
    if state.tenant != tenant_of(line.name):
        raise ValueError("its tenant is another one than its name says")
    if not all(isinstance(each, dict) for each in objects):
        raise ValueError("its metadata or origin is no object")
    numbers = [number for each in FIELDS if isinstance(number := getattr(state, each), int)]
    if not all(-1 <= number <= MOST_NUMBER for number in numbers) or not 1 <= state.first <= state.tail:
        raise ValueError("a number of its state cannot be")
    if not 0 <= state.created_ms <= state.ended_ms <= bounds.now_ms + CLOCK_MS or not 1 <= state.ttl_s <= LONGEST_S:
        raise ValueError("its times cannot be")
    return state
