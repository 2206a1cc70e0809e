"""Deltas of one part as one entry: what a client needs that wants the text, and not how it came (Read/Coalesced)."""

from itertools import groupby
from operator import itemgetter
from typing import Final

import orjson

from midstream.log.entries import REASONING, TEXT, TOOL_INPUT, Entry, Json, Stored, encode

MERGED_BYTES: Final = 262_144
"""Most bytes of an entry that stands for several."""

_TEXTS: Final = frozenset(encode(Entry(kind, {"text": ""}))[0] for kind in (TEXT, REASONING))
_INPUT: Final = encode(Entry(TOOL_INPUT, {}))[0]
_FOOT: Final = b'"}'


def merge(entries: list[Stored]) -> list[Stored]:
    """Return the same content in fewer entries: texts, reasoning and tool input that follow each other are joined.

    Each entry has the last offset that it stands for, so it begins right after the one before it. What has been merged
    can be merged again with what follows. Larger content than `MERGED_BYTES` is divided between two deltas.
    """
    merged: list[Stored] = []
    start, count = 0, len(entries)
    while start < count:
        kind = entries[start].content[0]
        end = start + 1
        while end < count and entries[end][2][0] == kind:  # by number: by name it takes twice as long
            end += 1
        if kind in _TEXTS:
            run = entries[start:end]
            merged += _joined(run, [content[1:] for _, _, content in run], run[0].content[:1])
        elif kind == _INPUT:
            merged += _merged_input(entries[start:end])
        else:
            merged += entries[start:end]
        start = end
    return merged


def _joined(run: list[Stored], pieces: list[bytes], head: bytes, foot: bytes = b"") -> list[Stored]:
    """Return a run of deltas of one part as one entry, or as several where it is too large for one."""
    if len(run) == 1:
        return run
    content = head + b"".join(pieces) + foot
    if len(content) <= MERGED_BYTES:
        return [Stored(run[-1].offset, run[-1].epoch, content)]
    half = len(run) // 2
    return _joined(run[:half], pieces[:half], head, foot) + _joined(run[half:], pieces[half:], head, foot)


def _merged_input(entries: list[Stored]) -> list[Stored]:
    """Return tool input, each call's pieces joined. What has no text as its delta, as in an older log, stays alone."""
    divided = [(stored, *_divided(stored)) for stored in entries]
    merged: list[Stored] = []
    for call, group in groupby(divided, itemgetter(1)):
        run = list(group)
        stored = [stored for stored, _, _ in run]
        if call is None:
            merged += stored
        else:  # texts can be joined as JSON writes them, without their quotes
            head = encode(Entry(TOOL_INPUT, call | {"delta": ""}))[: -len(_FOOT)]
            merged += _joined(stored, [orjson.dumps(delta)[1:-1] for _, _, delta in run], head, _FOOT)
    return merged


def _divided(stored: Stored) -> tuple[Json | None, str]:
    """Return everything about a piece of tool input but the piece, and the piece; None where there is no piece."""
    fields: Json = orjson.loads(stored.content[1:])
    delta = fields.pop("delta", None)
    return (fields, delta) if isinstance(delta, str) else (None, "")
