"""A class for each of the log's Lua scripts, which says what the script takes and reads.

The class is the script's only signature: its fields of type `Key` are the script's keys, all others its arguments, and
each is a local variable of that name in Lua. What is sent to the server is `prelude.lua`, these variables, and the
script's own file. So no script counts its arguments, and mypy sees a call that does not fit its script.

Names cost little: at a server an append of one entry takes 7.3 us instead of 6.2, one of eight 16.8 instead of 16.6.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar, Final, dataclass_transform, get_origin

from midstream.log.keys import Key

Argument = str | bytes | int

_FOLDER: Final = Path(__file__).parent / "lua"
_PRELUDE: Final = (_FOLDER / "prelude.lua").read_text()
_ALWAYS_READ: Final = ("status", "epoch", "owner", "outcome")
"""The fields of a stream's state that refusals name."""
_WORD: Final = re.compile("[A-Z][a-z]+")
SOURCES: Final[dict[str, str]] = {}
"""What is sent to the server, by the name of the call: `append`, `begin_try`, …"""


@dataclass_transform(kw_only_default=True)
class Call:
    """One call of a script. In Lua every argument is a string, and a sequence is a table of strings.

    Class arguments:
        reads: The fields of the stream's state that the script finds in `stream`, besides those that refusals name;
            None: it has nothing to do with a stream's state.
        grows: The script makes a log longer. A server that is out of memory refuses it, and no other one (PROTOCOL:
            Seal/OOM).
        file: The script's file, if it is not named as the call is.
    """

    name: ClassVar[str]
    _number_of_keys: ClassVar[int]
    _ends_in_sequence: ClassVar[bool]

    def __init_subclass__(cls, *, reads: tuple[str, ...] | None = None, grows: bool = False, file: str = "") -> None:
        """Make a dataclass of it, and the source of its script."""
        dataclass(kw_only=True, eq=False)(cls)
        kinds = {field.name: field.type for field in fields(cls)}  # type: ignore[arg-type]
        keys = [name for name, kind in kinds.items() if kind is Key]
        arguments = [name for name, kind in kinds.items() if kind is not Key]
        sequences = [name for name, kind in kinds.items() if get_origin(kind) is Sequence]
        if [*kinds] != keys + arguments or sequences not in ([], arguments[-1:]):
            raise TypeError(f"{cls.__name__}: keys come first, then arguments, and only the last can be a sequence")
        cls.name = "_".join(_WORD.findall(cls.__name__)).lower()
        cls._number_of_keys = len(keys)
        cls._ends_in_sequence = bool(sequences)
        variables = [_local(name, f"KEYS[{number}]") for number, name in enumerate(keys, 1)]
        for number, name in enumerate(arguments, 1):
            variables.append(_table(name, number) if name in sequences else _local(name, f"ARGV[{number}]"))
        if reads is not None:
            variables.append(_stream(_ALWAYS_READ + reads))
        head = "#!lua" if grows else "#!lua flags=allow-oom"
        body = (_FOLDER / f"{file or cls.name}.lua").read_text()
        SOURCES[cls.name] = "\n".join((head, _PRELUDE, *variables, body))

    def words(self) -> tuple[list[Key], list[Argument]]:
        """Return the keys and the arguments in their order."""
        words = list(vars(self).values())  # in the order of the fields
        keys, arguments = words[: self._number_of_keys], words[self._number_of_keys :]
        if self._ends_in_sequence:
            *arguments, sequence = arguments
            arguments += sequence
        return keys, arguments


def _local(name: str, value: str) -> str:
    return f"local {name} = {value}"


def _table(name: str, first: int) -> str:
    """Return the Lua that gathers the arguments from number `first` on; `unpack` fails at some thousand of them."""
    return f"{_local(name, '{}')}\nfor i = {first}, #ARGV do {name}[i - {first - 1}] = ARGV[i] end"


def _stream(names: tuple[str, ...]) -> str:
    """Return the Lua that reads fields of the state."""
    values = _local("values", f"redis.call('HMGET', state, {str(names)[1:-1]})")
    items = ", ".join(f"{name} = values[{number}]" for number, name in enumerate(names, 1))
    return f"{values}\n{_local('stream', f'{{{items}}}')}"


class Create(Call, grows=True):
    """`fields` are names and values of the state, in turn."""

    state: Key
    digest: str
    fields: Sequence[Argument]


class Claim(Call, reads=("tail", "model")):
    """`answer_fields` are those of the state to answer with."""

    state: Key
    log: Key
    owner: str
    lease_ms: int
    channel: str
    answer_fields: Sequence[str]


class Append(Call, reads=("tail", "lease_until_ms"), grows=True):
    """With an outcome it ends the stream, but see `Seal`. An empty `upstream_cursor` changes nothing."""

    state: Key
    log: Key
    epoch: int
    owner: str
    expected_tail: int
    channel: str
    upstream_cursor: int | str = ""
    outcome: str = ""
    ttl_ms: int = 0
    entries: Sequence[bytes]


class Seal(Append, reads=("tail", "lease_until_ms"), file="append"):
    """An `Append` with an outcome, which a server that is out of memory takes too."""


class Renew(Call, reads=("cancel_ms",)):
    """`notes` are names and values of the state, in turn."""

    state: Key
    epoch: int
    owner: str
    lease_ms: int
    notes: Sequence[Argument]


class Release(Call, reads=("lease_until_ms",)):
    """An empty owner is a reaper."""

    state: Key
    epoch: int
    owner: str


class Shorten(Call, reads=("lease_until_ms", "lease_ms")):
    """Ends a lease in its usual time."""

    state: Key
    epoch: int


class Cancel(Call, reads=()):
    """`message` is published on the workers' channel `control`."""

    state: Key
    control: str
    message: str


class Delete(Call, reads=()):
    """Leaves a tombstone for `tombstone_ms`."""

    state: Key
    log: Key
    tombstone_ms: int
    channel: str


class Trim(Call, reads=("tail", "first")):
    """`first_kept` is the first offset to keep."""

    state: Key
    log: Key
    first_kept: int


class Watch(Call):
    """Sets a stream's first look."""

    due: Key
    delay_ms: int
    stream_id: str


class Leave(Call):
    """Takes ended streams off the list that reapers go by, and off those that limits count.

    `places` are each stream's name, its tenant's set of what runs, and its slot, in turn.
    """

    due: Key
    places: Sequence[Argument]


class Admit(Call, grows=True):
    """Counts a start, unless a limit refuses it.

    An interval is that between two starts of a steady rate, and a window is the time whose starts may come at once; a
    window or a most of 0 is no limit. The user's are 0, and its keys unused, where the start names no user.
    """

    tenant_rate: Key
    tenant_live: Key
    user_rate: Key
    user_live: Key
    slot: Key
    stream_id: str
    life_ms: int
    tenant_interval_ms: str
    tenant_window_ms: int
    tenant_most: int
    user_interval_ms: str
    user_window_ms: int
    user_most: int


class TakeDue(Call):
    """Takes up to `limit` streams that are due."""

    due: Key
    again_ms: int
    limit: int
    furthest_ms: int


class BeginTurn(Call):
    """Begins a turn of an AI SDK chat."""

    chat: Key
    turn: int
    digest: str
    stream_id: str
    keep_s: int


class BeginTry(Call, grows=True):
    """`patience` is `patient` or `last`; `beats` are each broker's name and the time of its last beat, in turn."""

    tries: Key
    count: int
    new_stream_id: str
    broker: str
    window_ms: int
    keep_ms: int
    patience: str
    beats: Sequence[Argument]


class EndTry(Call):
    """`result` is `delivered` or `lost`."""

    tries: Key
    stream_id: str
    broker: str
    result: str
    keep_ms: int
    count: int


class Beat(Call):
    """Notes that a broker lives."""

    brokers: Key
    broker: str
    keep_ms: int


class Mark(Call):
    """Writes what a wait for the disk waits for."""

    marker: Key
    ttl_s: int


class Writable(Call, grows=True):
    """Answers if a log may grow."""
