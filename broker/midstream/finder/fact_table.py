"""A table of facts about streams in this process's memory, which answers any search in some milliseconds.

SQLite looks at the rows in the order of their creation, newest first, until a page is full: 7 to 14 ms for 100,000 of
which none fits, without a lock on Python's other threads. What few streams are, and operators look for most, has an
index of these few. One of every stream, for each fact, would take as much memory as the rows.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from midstream.finder.where import OUTCOMES, Where
from midstream.log.entries import COMPLETED, Json
from midstream.log.facts import Facts
from midstream.log.keys import id_of, tenant_of
from midstream.log.registry import Listed

MS_PER_S: Final = 1_000
FOREVER_MS: Final = 2**62
"""Later than the end of any stream."""

_FACTS: Final = (
    *("tenant", "user", "thread", "model", "status", "outcome", "code", "epoch", "last_entry_ms", "metadata"),
    *("tail", "created_ms", "started_ms", "ended_ms", "ttl_s"),
)
"""What a search answers of each stream, beside its id."""
# SQLite reads a row up to the last column that a search needs, and fewer and larger pages a third faster. Nothing is
# ever rolled back here, and without copies of pages for that a thousand rows are written in 6 ms instead of 10.
_COLUMNS: Final = ("name", "until_ms", "words", *_FACTS)
_FEW: Final = {
    "live": "status != 'ended'",
    "coded": "code IS NOT NULL",
    "failures": "outcome != 'completed'",
    "repeated": "epoch > 1",
}
"""What few streams are: the names and the conditions of the indexes of these."""
_SCHEMA: Final = f"""
PRAGMA page_size = 32768;
PRAGMA journal_mode = OFF;
CREATE TABLE streams ({", ".join(_COLUMNS)}, PRIMARY KEY (created_ms, name)) WITHOUT ROWID;
CREATE UNIQUE INDEX names ON streams (name);
{" ".join(f"CREATE INDEX {name} ON streams (created_ms, name) WHERE {few};" for name, few in _FEW.items())}
"""
_BOUNDS: Final = {
    "older_than_s": "created_ms < ?",
    "newer_than_s": "created_ms >= ?",
    "silent_s": "coalesce(last_entry_ms, created_ms) < ?",
    "attempts_over": "epoch > ?",
}
"""Conditions of one number; one of seconds is compared with the time that is so long ago."""
_APPENDED: Final = "UPDATE streams SET last_entry_ms = ?, tail = ? WHERE created_ms = ? AND name = ?"
_PUT: Final = f"INSERT OR REPLACE INTO streams VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 - names of ours


class FactTable:
    """Facts about streams by their names. Each method may run in any thread, one at a time."""

    def __init__(self) -> None:
        self._db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._db.executescript(_SCHEMA)
        self._live: dict[str, Facts] = {}
        """What the rows of streams that have not ended were made of: a search finds most of them as they were."""

    def close(self) -> None:
        """Give the memory back."""
        self._db.close()

    def clear(self) -> None:
        """Forget all rows."""
        self._db.execute("DELETE FROM streams")
        self._live.clear()

    def put(self, facts_of: Mapping[str, Facts | None]) -> None:
        """Write what is true of streams now; None: there is no such stream any more."""
        gone, appended, rows = [], [], []
        for name, facts in facts_of.items():
            before = self._live.get(name)
            if facts is None:
                gone.append((name,))
                self._live.pop(name, None)
            elif facts != before:
                if before is not None and facts == before._replace(tail=facts.tail, tail_ms=facts.tail_ms):
                    appended.append((facts.last_entry_ms, facts.tail, facts.created_ms, name))
                else:
                    rows.append(_row(name, facts))
                self._know(name, facts)
        with self._db:  # one transaction is twice as fast as one for each row
            self._db.execute("BEGIN")
            self._db.executemany("DELETE FROM streams WHERE name = ?", gone)
            self._db.executemany(_APPENDED, appended)
            self._db.executemany(_PUT, rows)

    def _know(self, name: str, facts: Facts) -> None:
        if facts.status == "ended":
            self._live.pop(name, None)
        else:
            self._live[name] = facts

    def live(self) -> set[str]:
        """Return the names of the streams that have not ended, as far as the table says."""
        return {name for (name,) in self._db.execute(f"SELECT name FROM streams WHERE {_FEW['live']}")}  # noqa: S608 - ours

    def trim(self, now_ms: int, most: int) -> int:
        """Drop rows of streams that have expired, and the oldest beyond `most` rows; return how many of these."""
        self._db.execute("DELETE FROM streams WHERE until_ms <= ?", (now_ms,))
        (number,) = self._db.execute("SELECT count(*) FROM streams").fetchone()
        if number <= most:
            return 0
        self._live.clear()  # some of these may be among the oldest
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
            f"SELECT name, {', '.join(_FACTS)} FROM {_rows(where)}{condition} "  # noqa: S608 - names of ours
            "ORDER BY created_ms DESC, name DESC LIMIT ?",
            (*values, limit),
        )
        return [_answer(*row) for row in rows]

    def count(self, where: Where, now_ms: int) -> int:
        """Return how many streams fit."""
        condition, values = _condition(where, now_ms)
        query = f"SELECT count(*) FROM {_rows(where)}{condition}"  # noqa: S608 - names of ours
        (number,) = self._db.execute(query, values).fetchone()
        return int(number)


def _row(name: str, facts: Facts) -> Sequence[Any]:
    """Return the values of the columns, in their order."""
    text = facts.metadata
    metadata = _metadata(text) if text != "{}" else {}
    stream_id, user, thread = id_of(name), facts.user or None, facts.thread or None
    words = (stream_id, facts.user, facts.thread, facts.upstream_id, *metadata, *metadata.values())
    return (
        *(name, facts.ended_ms + facts.ttl_s * MS_PER_S if facts.status == "ended" else FOREVER_MS),
        *("\n".join(map(str, words)).casefold(), tenant_of(name), user, thread, facts.model, facts.status),
        *(facts.outcome or None, facts.code or None, facts.epoch, facts.last_entry_ms, orjson.dumps(metadata).decode()),
        *(facts.tail, facts.created_ms, facts.started_ms or None, facts.ended_ms or None, facts.ttl_s),
    )


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


def _rows(where: Where) -> str:
    """Return where SQLite looks for a search's streams: among few where the search implies what those are."""
    endings = (*where.outcome, *(where.status if set(where.status) <= set(OUTCOMES) else ()))
    implied = {
        "live": where.silent_s is not None or (where.status and set(where.status) <= {"queued", "running"}),
        "coded": where.code,
        "failures": endings and COMPLETED not in endings,
        "repeated": where.attempts_over,
    }
    few = next((name for name in _FEW if implied[name]), None)
    return f"streams INDEXED BY {few} WHERE {_FEW[few]} AND " if few else "streams WHERE "


def _marks(words: Iterable[str]) -> str:
    return ", ".join("?" for _ in words)
