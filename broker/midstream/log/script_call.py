"""What a class is that says what a Lua script takes; `calls.py` has one for each script.

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

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Final, dataclass_transform, get_origin

from midstream.log.keys import Key
from midstream.log.state import FIELDS

Argument = str | bytes | int

_FOLDER: Final = Path(__file__).parent / "lua"
_WORD: Final = re.compile("[A-Z][a-z]+")
_INCLUDE: Final = re.compile(r"^ *--- include (\w+)$", re.MULTILINE)
_FIELD: Final = re.compile(r"\bstream\.(\w+)")
SOURCES: Final[dict[str, str]] = {}
"""What is sent to the server, by the name of the call: `append`, `begin_try`, …"""
CALLS: "Final[dict[str, type[Call]]]" = {}
"""The calls by the names that a server gives to their sources."""


@dataclass_transform(kw_only_default=True)
class Call:
    """One call of a script. In Lua every argument is a string.

    Class arguments:
        grows: The script makes a log longer. A server that is out of memory refuses it, and no other one (PROTOCOL:
            Seal/OOM).
        file: The script's file, if it is not named as the call is.
        joins: Calls whose fields it has besides its own; their sequences, of which a call has only one, are left out.
        beside: The field whose value is a key, or the beginning of keys, from which the script makes the names of keys
            that the call does not name. A cluster finds a script's node by the keys that it is sent, so it is sent this
            one, too.

    Attributes:
        name: The script's name.
        script_sha: The name that a server gives to the script's source.
        beside: The position, among keys and arguments, of the field that the class argument names; None: all keys that
            the script touches are among its fields.
    """

    name: ClassVar[str]
    script_sha: ClassVar[str]
    beside: ClassVar[int | None]
    _number_of_keys: ClassVar[int]
    _ends_in_sequence: ClassVar[bool]

    def __init_subclass__(
        cls, *, grows: bool = False, file: str = "", beside: str = "", joins: "Sequence[type[Call]]" = ()
    ) -> None:
        """Make a dataclass of it, and the source of its script."""
        if joins:
            cls.__annotations__ = _joined(*joins, cls)
        dataclass(kw_only=True, eq=False)(cls)
        kinds = {field.name: field.type for field in fields(cls)}  # type: ignore[arg-type]
        keys = [name for name, kind in kinds.items() if kind is Key]
        arguments = [name for name, kind in kinds.items() if kind is not Key]
        sequences = [name for name, kind in kinds.items() if get_origin(kind) is Sequence]
        if [*kinds] != keys + arguments or sequences not in ([], arguments[-1:]):
            raise TypeError(f"{cls.__name__}: keys come first, then arguments, and only the last can be a sequence")
        cls.name = "_".join(_WORD.findall(cls.__name__)).lower()
        cls.beside = [*kinds].index(beside) if beside else None
        cls._number_of_keys = len(keys)
        cls._ends_in_sequence = bool(sequences)
        variables = [_local(name, f"KEYS[{number}]") for number, name in enumerate(keys, 1)]
        for number, name in enumerate(arguments, 1):
            is_sequence = name in sequences
            variables.append(
                _local(f"{name}, {name}_first", f"ARGV, {number}") if is_sequence else _local(name, f"ARGV[{number}]")
            )
        head = "#!lua" if grows else "#!lua flags=allow-oom"
        source = "\n".join((head, *variables, _with_positions(_script(file or cls.name))))
        SOURCES[cls.name] = source
        cls.script_sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
        CALLS[cls.script_sha] = cls

    def words(self) -> tuple[list[Key], list[Argument]]:
        """Return the keys and the arguments in their order."""
        words = list(vars(self).values())  # in the order of the fields
        keys, arguments = words[: self._number_of_keys], words[self._number_of_keys :]
        if self._ends_in_sequence:
            *arguments, sequence = arguments
            arguments += sequence
        return keys, arguments


def _joined(*parts: type[Call]) -> dict[str, Any]:
    """Return the fields that parts have of their own, keys first; of the sequences there is only the last part's."""
    kinds: dict[str, Any] = {}
    for part in parts:
        own: dict[str, Any] = part.__annotations__
        kinds |= {name: kind for name, kind in own.items() if part is parts[-1] or get_origin(kind) is not Sequence}
    return dict(sorted(kinds.items(), key=lambda field: field[1] is not Key))


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
