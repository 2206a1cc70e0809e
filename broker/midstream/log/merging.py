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
            merged += [_merged_text(run) for run in _fitting(entries[start:end])]
        elif kind == _INPUT:
            for run in _fitting(entries[start:end]):
                merged += _merged_input(run) if len(run) > 1 else run
        else:
            merged += entries[start:end]
        start = end
    return merged


def _fitting(run: list[Stored]) -> list[list[Stored]]:
    """Return a run in pieces that fit into one entry each, or are one. Nothing is copied before that is known."""
    if len(run) == 1 or sum([len(content) for _, _, content in run]) <= MERGED_BYTES:
        return [run]
    half = len(run) // 2
    return _fitting(run[:half]) + _fitting(run[half:])


def _joined(run: list[Stored], pieces: list[bytes], head: bytes, foot: bytes = b"") -> Stored:
    """Return deltas of one part as one entry."""
    return run[0] if len(run) == 1 else Stored(run[-1].offset, run[-1].epoch, head + b"".join(pieces) + foot)


def _merged_text(run: list[Stored]) -> Stored:
    return _joined(run, [content[1:] for _, _, content in run], run[0].content[:1])


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
            merged.append(_joined(stored, [orjson.dumps(delta)[1:-1] for _, _, delta in run], head, _FOOT))
    return merged


def _divided(stored: Stored) -> tuple[Json | None, str]:
    """Return everything about a piece of tool input but the piece, and the piece; None where there is no piece."""
    fields: Json = orjson.loads(stored.content[1:])
    delta = fields.pop("delta", None)
    return (fields, delta) if isinstance(delta, str) else (None, "")
