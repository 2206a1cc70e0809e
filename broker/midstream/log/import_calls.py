"""The scripts that bring streams of an archive in, as `calls.py` has those of the log."""

from collections.abc import Sequence

from midstream.log.calls import Argument, Call
from midstream.log.keys import Key


class Stage(Call, grows=True):
    """`rows` are three words for each entry: its id, the name of its field, its content."""

    staged: Key
    keep_ms: int
    rows: Sequence[Argument]


class Adopt(Call, grows=True, beside="state"):
    """`entries` says how many were staged. `lists` are keys of lists of streams, with a blank between two.

    `ended` and `most_ended` are as for `Leave`, and `thread`, `thread_lists` and `most_listed` as for `Create`. `chat`
    is the key of a chat, or empty. `fields` are names and values of the state, in turn.
    """

    state: Key
    log: Key
    staged: Key
    stored: Key
    ended: str
    most_ended: int
    stream_name: str
    stream_id: str
    entries: int
    created_ms: int
    ended_ms: int
    ttl_ms: int
    lists: str
    thread: str
    thread_lists: str
    most_listed: int
    chat: str
    chat_turn: int
    chat_digest: str
    chat_seen: str
    fields: Sequence[Argument]
