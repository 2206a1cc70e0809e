"""What a cluster is sent in place of the words of a command, and the slot that the command belongs to."""

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from redis.crc import key_slot

from midstream.log.script_call import CALLS, SOURCES

Words = tuple[Any, ...]

NO_KEY: Final = ":none"
"""The end of the name of a key that never exists; see `ClusterScript.words`."""
_HOME_SLOT: Final = key_slot(b"{0}")
"""The slot of the first shard, whose node is sent what names no key."""
_KEYLESS: Final = frozenset((b"TIME", b"WAIT", b"WAITAOF", b"INFO", b"CONFIG GET", b"PING", b"SLOWLOG GET"))


def own_source(source: str) -> str:
    """Return a script as a cluster is sent it: it publishes to those who subscribe at the channel's own node."""
    return source.replace("'PUBLISH'", "'SPUBLISH'")


class ClusterScript:
    """A script under the name that the nodes of a cluster know it by."""

    def __init__(self, sha: str) -> None:
        call = CALLS[sha]
        self.sha = hashlib.sha1(own_source(SOURCES[call.name]).encode(), usedforsecurity=False).hexdigest()
        self._beside = call.beside

    def words(self, number_of_keys: int, words: Words) -> Words:
        """Return a call's words.

        A script that touches keys which the call does not name is also given the name of a key that never exists. While
        a slot is being moved, some of its keys are on one node and some on the other. The node then refuses the call
        with TRYAGAIN, because it lacks a key. Otherwise the script would be stopped at the first key that is elsewhere.
        """
        if self._beside is None:
            return (b"EVALSHA", self.sha, number_of_keys, *words)
        text = words[self._beside]
        none = text[: text.index("}") + 1] + NO_KEY
        return (b"EVALSHA", self.sha, number_of_keys + 1, *words[:number_of_keys], none, *words[number_of_keys:])


_scripts: Final[dict[str, ClusterScript]] = {}


def words_of(args: Words) -> Words:
    """Return what is sent in place of the words of a command of one server."""
    name = _name(args)
    if name == b"EVALSHA":
        script = _scripts.get(args[1])
        if script is None:
            script = _scripts[args[1]] = ClusterScript(args[1])
        return script.words(int(args[2]), args[3:])
    return (b"SPUBLISH", *args[1:]) if name == b"PUBLISH" else args


def slot_of(words: Words) -> int:
    """Return the slot of a command's first key; that of the first shard where it names none."""
    slot = _slot_of_key(words)
    return _HOME_SLOT if slot is None else slot


def slots_of(commands: Sequence[Words]) -> list[int]:
    """Return the slot of each command; one that names no key goes with that before it, or else with the first key."""
    of_keys = [_slot_of_key(words) for words in commands]
    last = next((slot for slot in of_keys if slot is not None), _HOME_SLOT)
    slots: list[int] = []
    for slot in of_keys:
        last = last if slot is None else slot
        slots.append(last)
    return slots


def _name(words: Words) -> bytes:
    name = words[0]
    return name if isinstance(name, bytes) else str(name).encode()


def _slot_of_key(words: Words) -> int | None:
    name = _name(words)
    if name == b"EVALSHA":
        key = words[3] if int(words[2]) else None
    elif name == b"MEMORY":
        key = words[2]
    elif name in _KEYLESS or len(words) == 1:
        key = None
    else:
        key = words[1]
    if key is None:
        return None
    return key_slot(key if isinstance(key, bytes) else str(key).encode())
