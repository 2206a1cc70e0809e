"""A class for each of the log's Lua scripts, which says what the script takes (`script_call.py`)."""

from collections.abc import Sequence

from midstream.log.keys import Key
from midstream.log.script_call import SOURCES, Argument, Call

__all__ = ["SOURCES", "Argument", "Call"]


class LetStart(Call, beside="state"):
    """`streams` is the key of the thread's streams, as its owner sees it."""

    state: Key
    stream_id: str
    streams: str


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
    changes nothing. `cost` is what the stream has cost, as its end says it; empty: nobody knows.
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
    cost: str = ""
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


class SaveState(Call, grows=True):
    """An empty `value` forgets what was saved."""

    state: Key
    saved: Key
    listing: Key
    epoch: int
    owner: str
    value: bytes
    keep_ms: int


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


class Delete(Call, beside="state"):
    """Leaves a tombstone for `tombstone_ms`. `thread` and `thread_lists` are as for `Create`."""

    state: Key
    log: Key
    notice: Key
    tombstone_ms: int
    channel: str
    stream_id: str
    thread: str
    thread_lists: str


class DropFromThread(Call, beside="thread_lists"):
    """`thread` and `thread_lists` are as for `Create`."""

    thread: str
    thread_lists: str
    stream_ids: Sequence[str]


class Forget(Call):
    """`pointer` is a chat, or the tries of a request."""

    pointer: Key
    stream_id: str


class Retain(Call):
    """`ttl_s` counts from the stream's end."""

    state: Key
    log: Key
    ttl_s: int


class ReadFacts(Call, beside="states"):
    """`names` are the fields to answer with, with spaces between, and `states` the keys of states."""

    names: str
    states: Sequence[str]


class Trim(Call):
    """`first_kept` is the first offset to keep."""

    state: Key
    log: Key
    channel: str
    first_kept: int


class Watch(Call, beside="due"):
    """Sets a stream's first look."""

    due: Key
    delay_ms: int
    stream_id: str


class Leave(Call, beside="due"):
    """Takes ended streams off the list that reapers go by and off those that limits count, and counts what is left.

    `ended` is the key of the list of ends, which gets at most `most_ended` names. `streams` are eight words for each
    stream; see the script.
    """

    due: Key
    ended: str
    most_ended: int
    outlets: str
    prefix: str
    streams: Sequence[Argument]


class Recount(Call, beside="stored"):
    """Counts the bytes of an ended stream by another time; `ended` and `most_ended` are as for `Leave`."""

    stored: Key
    ended: str
    most_ended: int
    stream_name: str
    bytes: int
    ended_ms: int
    ttl_ms_before: int
    ttl_ms: int


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


class Sign(Call, beside="sign"):
    """Notes that a process lives. `counts` are names and numbers, in turn; each minute's key begins with `minutes`.

    `depth` is that of the queue; empty: the queue is on this server.
    """

    sign: Key
    drain: Key
    roll: Key
    queue: Key
    minutes: str
    process: str
    depth: int | str
    facts: bytes
    keep_ms: int
    minutes_ms: int
    counts: Sequence[Argument]


class Mark(Call):
    """Writes what a wait for the disk waits for."""

    marker: Key
    ttl_s: int


class Writable(Call, grows=True):
    """Answers if a log may grow."""
