"""A table of facts about streams in this process's memory, which answers any search in some milliseconds.

SQLite looks at the rows in the order of their creation, newest first, until a page is full: 15 ms for 100,000 rows of
which none fits, without a lock on Python's other threads. An index for each fact would save these 15 ms, and would
take as much memory as the rows.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from midstream.finder.where import OUTCOMES, Where
from midstream.log.entries import Json
from midstream.log.keys import id_of, tenant_of
from midstream.log.registry import Listed
from midstream.log.state import State

MS_PER_S: Final = 1_000
FOREVER_MS: Final = 2**62
"""Later than the end of any stream."""

_FACTS: Final = (
    *("tenant", "status", "outcome", "code", "model", "epoch", "tail", "thread", "user", "created_ms"),
    *("started_ms", "last_entry_ms", "ended_ms", "ttl_s", "metadata"),
)
"""What a search answers of each stream, beside its id."""
_COLUMNS: Final = ("name", *_FACTS, "until_ms", "words")
# The short facts come first: SQLite reads a row up to the last fact that it needs.
_SCHEMA: Final = f"""
CREATE TABLE streams ({", ".join(_COLUMNS)}, PRIMARY KEY (created_ms, name)) WITHOUT ROWID;
CREATE UNIQUE INDEX names ON streams (name);
"""
_BOUNDS: Final = {
    "older_than_s": "created_ms < ?",
    "newer_than_s": "created_ms >= ?",
    "silent_s": "status != 'ended' AND coalesce(last_entry_ms, created_ms) < ?",
    "attempts_over": "epoch > ?",
}
"""Conditions of one number; one of seconds is compared with the time that is so long ago."""
_PUT: Final = f"INSERT OR REPLACE INTO streams VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 - names of ours


class FactTable:
    """Facts about streams by their names. Each method may run in any thread, one at a time."""

    def __init__(self) -> None:
        self._db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Forget all rows and give the memory back."""
        self._db.close()

    def put(self, states: Mapping[str, State | None]) -> None:
        """Write what is true of streams now; None: there is no such stream any more."""
        self._db.executemany("DELETE FROM streams WHERE name = ?", [(name,) for name in states if states[name] is None])
        self._db.executemany(_PUT, [_row(name, state) for name, state in states.items() if state is not None])

    def live(self) -> set[str]:
        """Return the names of the streams that have not ended, as far as the table says."""
        return {name for (name,) in self._db.execute("SELECT name FROM streams WHERE status != 'ended'")}

    def trim(self, now_ms: int, most: int) -> int:
        """Drop rows of streams that have expired, and the oldest beyond `most` rows; return how many of these."""
        self._db.execute("DELETE FROM streams WHERE until_ms <= ?", (now_ms,))
        (number,) = self._db.execute("SELECT count(*) FROM streams").fetchone()
        if number <= most:
            return 0
        self._db.execute(
            "DELETE FROM streams WHERE (created_ms, name) IN "
            "(SELECT created_ms, name FROM streams ORDER BY created_ms, name LIMIT ?)",
            (number - most,),
        )
        return int(number - most)

    def page(self, where: Where, now_ms: int, limit: int, before: Listed | None) -> list[Json]:
        """Return up to `limit` streams that fit, newest first, after the one of `before`."""
        condition, values = _condition(where, now_ms)
        if before is not None:
            condition += " AND (created_ms, name) < (?, ?)"
            values += [before.created_ms, before.stream_id]
        rows = self._db.execute(
            f"SELECT name, {', '.join(_FACTS)} FROM streams WHERE {condition} "  # noqa: S608 - names of ours
            "ORDER BY created_ms DESC, name DESC LIMIT ?",
            (*values, limit),
        )
        return [_answer(*row) for row in rows]

    def count(self, where: Where, now_ms: int) -> int:
        """Return how many streams fit."""
        condition, values = _condition(where, now_ms)
        query = f"SELECT count(*) FROM streams WHERE {condition}"  # noqa: S608 - names of ours
        (number,) = self._db.execute(query, values).fetchone()
        return int(number)


def _row(name: str, state: State) -> Sequence[Any]:
    metadata = _metadata(state.metadata)
    texts = (id_of(name), state.user, state.thread, state.upstream_id, *metadata, *metadata.values())
    facts: dict[str, Any] = {
        "name": name,
        "tenant": tenant_of(name),
        "status": state.status,
        "outcome": state.outcome or None,
        "code": state.code or None,
        "model": state.model,
        "epoch": state.epoch,
        "tail": state.tail,
        "thread": state.thread or None,
        "user": state.user or None,
        "created_ms": state.created_ms,
        "started_ms": state.started_ms or None,
        "last_entry_ms": state.last_entry_ms,
        "ended_ms": state.ended_ms or None,
        "ttl_s": state.ttl_s,
        "metadata": orjson.dumps(metadata).decode(),
        "until_ms": state.ended_ms + state.ttl_s * MS_PER_S if state.ended else FOREVER_MS,
        "words": "\n".join(map(str, texts)).casefold(),
    }
    return [facts[column] for column in _COLUMNS]


def _metadata(text: str) -> dict[str, Any]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:  # somebody else wrote this state
        return {}
    return value if isinstance(value, dict) else {}


def _answer(name: str, *facts: Any) -> Json:
    answer = {"id": id_of(name), **dict(zip(_FACTS, facts, strict=True))}
    return answer | {"metadata": orjson.loads(answer["metadata"])}


def _condition(where: Where, now_ms: int) -> tuple[str, list[Any]]:
    """Return the condition in SQL, and its values."""
    terms: list[tuple[str, Sequence[Any]]] = [("until_ms > ?", (now_ms,))]
    equals = {name: getattr(where, name) for name in ("outcome", "code", "model", "thread", "user", "tenant")}
    terms += [(f"{name} IN ({_marks(words)})", words) for name, words in equals.items() if words]
    if where.status:
        columns = ("outcome" if word in OUTCOMES else "status" for word in where.status)
        terms.append((f"({' OR '.join(f'{column} = ?' for column in columns)})", where.status))
    for bound, term in _BOUNDS.items():
        if (value := getattr(where, bound)) is not None:
            terms.append((term, (now_ms - round(value * MS_PER_S) if bound.endswith("_s") else value,)))
    if where.q is not None:
        terms.append(("instr(words, ?) > 0", (where.q.casefold(),)))
    for name, words in where.metadata:
        # The text of the pair is found ten times as fast as JSON is read, but may stand in the name of another pair.
        pairs = [orjson.dumps({name: word})[1:-1].decode() for word in words]
        terms.append((f"({' OR '.join('instr(metadata, ?) > 0' for _ in pairs)})", pairs))
        present = f"EXISTS (SELECT 1 FROM json_each(metadata) WHERE key = ? AND value IN ({_marks(words)}))"  # noqa: S608 - marks
        terms.append((present, (name, *words)))
    return " AND ".join(term for term, _ in terms), [value for _, values in terms for value in values]


def _marks(words: Iterable[str]) -> str:
    return ", ".join("?" for _ in words)
