"""A class for each of the log's Lua scripts, which says what the script takes.

The class is the script's only signature: its fields of type `Key` are the script's keys, all others its arguments, and
each is a local variable of that name in Lua. So no script counts its arguments, and mypy sees a call that does not fit
its script.

What is sent to the server is made of the script's file once, when this module is imported:

- `--- include clock` stands for the lines of `lua/shared/clock.lua`. They are lines and not functions, because Lua
  would make each function anew for each call of a script.
- `stream.tail` stands for that field of the stream's state, which is false if it is not set. The fields that a script
  names so are read before its first line, and their names become positions in the server's answer.
- A sequence is not copied out of the arguments. `entries` is their table, and `entries_first` where the entries begin.

So names cost a server nothing. Functions and tables that were made for each call took 1 us of the 7 for an append.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar, Final, dataclass_transform, get_origin

from midstream.log.keys import Key
from midstream.log.state import FIELDS

Argument = str | bytes | int

_FOLDER: Final = Path(__file__).parent / "lua"
_WORD: Final = re.compile("[A-Z][a-z]+")
_INCLUDE: Final = re.compile(r"^ *--- include (\w+)$", re.MULTILINE)
_FIELD: Final = re.compile(r"\bstream\.(\w+)")
SOURCES: Final[dict[str, str]] = {}
"""What is sent to the server, by the name of the call: `append`, `begin_try`, …"""


@dataclass_transform(kw_only_default=True)
class Call:
    """One call of a script. In Lua every argument is a string.

    Class arguments:
        grows: The script makes a log longer. A server that is out of memory refuses it, and no other one (PROTOCOL:
            Seal/OOM).
        file: The script's file, if it is not named as the call is.
    """

    name: ClassVar[str]
    _number_of_keys: ClassVar[int]
    _ends_in_sequence: ClassVar[bool]

    def __init_subclass__(cls, *, grows: bool = False, file: str = "") -> None:
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
            is_sequence = name in sequences
            variables.append(
                _local(f"{name}, {name}_first", f"ARGV, {number}") if is_sequence else _local(name, f"ARGV[{number}]")
            )
        head = "#!lua" if grows else "#!lua flags=allow-oom"
        SOURCES[cls.name] = "\n".join((head, *variables, _with_positions(_script(file or cls.name))))

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


def _script(name: str) -> str:
    """Return the script of a file, with the lines that it includes."""
    return _INCLUDE.sub(lambda include: _script(f"shared/{include[1]}"), (_FOLDER / f"{name}.lua").read_text())


def _with_positions(script: str) -> str:
    """Return the script with the reading of the state's fields that it names, and their positions in their stead."""
    names = list(dict.fromkeys(_FIELD.findall(script)))
    if not names:
        return script
    if unknown := set(names).difference(FIELDS):
        raise TypeError(f"a stream's state has no {', '.join(sorted(unknown))}")
    read = _local("stream", f"redis.call('HMGET', state, {str(names)[1:-1]})")
    return f"{read}\n" + _FIELD.sub(lambda field: f"stream[{names.index(field[1]) + 1}]", script)


class Create(Call, grows=True):
    """`fields` are names and values of the state, in turn."""

    state: Key
    digest: str
    fields: Sequence[Argument]


class Claim(Call):
    """`answer_fields` are those of the state to answer with."""

    state: Key
    log: Key
    owner: str
    lease_ms: int
    channel: str
    answer_fields: Sequence[str]


class Append(Call, grows=True):
    """With an outcome it ends the stream, but see `Seal`; `code` is the failure's, if it failed.

    `tail_ms` is the entries' time in ms after the stream was created; empty: the server's. An empty `upstream_cursor`
    changes nothing.
    """

    state: Key
    log: Key
    epoch: int
    owner: str
    expected_tail: int
    channel: str
    tail_ms: int | str = ""
    upstream_cursor: int | str = ""
    outcome: str = ""
    code: str = ""
    entries: Sequence[bytes]


class Seal(Append, file="append"):
    """An `Append` with an outcome, which a server that is out of memory takes too."""


class Renew(Call):
    """`notes` are names and values of the state, in turn."""

    state: Key
    epoch: int
    owner: str
    lease_ms: int
    notes: Sequence[Argument]


class Release(Call):
    """An empty owner is a reaper."""

    state: Key
    epoch: int
    owner: str


class Shorten(Call):
    """Ends a lease in its usual time."""

    state: Key
    epoch: int


class Cancel(Call):
    """`message` is published on the workers' channel `control`."""

    state: Key
    control: str
    message: str


class Delete(Call):
    """Leaves a tombstone for `tombstone_ms`."""

    state: Key
    log: Key
    tombstone_ms: int
    channel: str


class Forget(Call):
    """`pointer` is a chat, or the tries of a request."""

    pointer: Key
    stream_id: str


class Retain(Call):
    """`ttl_s` counts from the stream's end."""

    state: Key
    log: Key
    ttl_s: int


class Trim(Call):
    """`first_kept` is the first offset to keep."""

    state: Key
    log: Key
    channel: str
    first_kept: int


class Watch(Call):
    """Sets a stream's first look."""

    due: Key
    delay_ms: int
    stream_id: str


class Leave(Call):
    """Takes ended streams off the list that reapers go by and off those that limits count, and counts what is left.

    `ended` is the key of the list of ends, which gets at most `most_ended` names. `streams` are seven words for each
    stream; see the script.
    """

    due: Key
    ended: str
    most_ended: int
    streams: Sequence[Argument]


class Admit(Call, grows=True):
    """Counts a start, unless a limit refuses it.

    An interval is that between two starts of a steady rate, and a window is the time whose starts may come at once; a
    window or a most of 0 is no limit. `owners` are six words for each of tenant, user and key; see the script.
    """

    live: Key
    places: Key
    stored: Key
    stream_id: str
    life_ms: int
    size_bytes: int
    tenant_bytes: int
    owners: Sequence[Argument]


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
