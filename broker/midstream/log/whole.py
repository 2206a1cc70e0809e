"""Ended streams as a whole: read for an archive, and brought in from one (PROTOCOL: Archive)."""

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from redis.asyncio import Redis

from midstream.log import import_calls as calls
from midstream.log.connect import keys_of, servers_of
from midstream.log.errors import StreamAbsent
from midstream.log.keys import id_of
from midstream.log.redis_errors import log_errors
from midstream.log.registry import ENDED_LIMIT, INDEX_LIMIT
from midstream.log.scripts import Scripts

SCAN_KEYS: Final = 1_000
"""Keys that the server looks at in one round trip."""
STAGED_MS: Final = 600_000
"""How long staged entries stay on the server if the process that staged them is gone."""
ROWS: Final = 1_000
"""Entries that are read in one round trip."""

Rows = list[tuple[bytes, list[bytes]]]
Adopted = Literal["ok", "taken", "expired"]


@dataclass(frozen=True, slots=True)
class WholeState:
    """Everything that the server keeps of an ended stream beside its entries.

    Attributes:
        name: The stream's name.
        fields: The state's fields as they are stored.
        chat: The fields of the AI SDK chat that is at the stream; empty: there is none.
    """

    name: str
    fields: Mapping[str, str]
    chat: Mapping[str, str] = field(default_factory=dict)

    def number(self, of: str) -> int:
        """Return a field that holds a number; 0 where there is none."""
        return int(self.fields.get(of, 0))


class WholeStreams:
    """The ended streams under one key prefix. Every method raises `LogUnavailable` when Redis does not answer."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self.keys = keys_of(redis, prefix)
        self._redis = redis
        self._scripts = Scripts(redis)
        self._token = secrets.token_hex(8)

    async def names(self) -> AsyncIterator[list[str]]:
        """Yield the names of all streams, in pages; one that comes or goes meanwhile may be left out, or come twice."""
        head, tail = f"{self.keys.prefix}:{{", "}:state"
        for server in servers_of(self._redis):
            cursor: Any = 0
            while True:
                with log_errors:
                    cursor, keys = await server.scan(cursor, match=f"{head}*{tail}", count=SCAN_KEYS)
                # On a cluster the tag of a shard comes first.
                yield [key.decode()[len(head) : -len(tail)].rpartition("}:{")[2] for key in keys]
                if not int(cursor):
                    break

    async def state(self, name: str) -> WholeState | None:
        """Return a stream's state with its chat; None where there is no stream; a tombstone is one that was deleted.

        Raises:
            UnicodeDecodeError: The state holds what no version of ours writes.
        """
        (words,) = await self._scripts.in_order(("HGETALL", self.keys.state(name)))
        fields = _fields(words)
        if not fields:
            return None
        pointer = fields.get("pointer", "")
        if not pointer.startswith(self.keys.near(name).chat_prefix):
            return WholeState(name, fields)
        (words,) = await self._scripts.in_order(("HGETALL", pointer))
        chat = _fields(words)
        return WholeState(name, fields, chat if chat.get("stream") == id_of(name) else {})

    async def rows(self, name: str, first: int, last: int) -> AsyncIterator[Rows]:
        """Yield the entries from the offset `first` to `last`, in pages of at most `ROWS`.

        Raises:
            StreamAbsent: Some of them are not there any more.
        """
        while first <= last:
            page = ("XRANGE", self.keys.log(name), first, last, "COUNT", ROWS)
            (rows,) = await self._scripts.in_order(page)
            if not rows or int(rows[0][0].split(b"-")[0]) != first:
                raise StreamAbsent(name)
            yield rows
            first += len(rows)

    async def unstage(self, name: str) -> None:
        """Forget what was staged of a stream."""
        await self._scripts.in_order(("DEL", self.keys.staged(name, self._token)))

    async def stage(self, name: str, rows: Sequence[tuple[str, str, str]]) -> None:
        """Put entries aside: id, name of the field, content. Raises `LogFull` where the server is out of memory."""
        words = [word for row in rows for word in row]
        call = calls.Stage(staged=self.keys.staged(name, self._token), keep_ms=STAGED_MS, rows=words)
        await self._scripts.run(call)

    async def adopt(self, whole: WholeState, entries: int, tenant: str, owner: str) -> Adopted:
        """Make a stream of what was staged, with everything by which it is found and counted; all of it or nothing.

        It is kept for `ttl_s` after its end, which may be over (`expired`). An id that is in use stays as it is
        (`taken`). It stands in the lists of its tenant and of its owner, who is the tenant or one user of it.

        Raises:
            StreamAbsent: What was staged is gone: the process was held up for long.
        """
        name, chat = whole.name, whole.chat
        fields = {of: value for of, value in whole.fields.items() if of not in ("stored_bytes", "pointer")}
        pointer = self.keys.chat(owner, fields.get("thread", "")) if chat else ""
        call = calls.Adopt(
            state=self.keys.state(name),
            log=self.keys.log(name),
            staged=self.keys.staged(name, self._token),
            stored=self.keys.stored(tenant),
            ended=self.keys.near(name).ended,
            most_ended=ENDED_LIMIT,
            stream_name=name,
            stream_id=id_of(name),
            entries=entries,
            created_ms=whole.number("created_ms"),
            ended_ms=whole.number("ended_ms"),
            ttl_ms=whole.number("ttl_s") * 1_000,
            lists=" ".join(self.keys.index(owner) for owner in sorted({tenant, owner})),
            thread=fields.get("thread", ""),
            thread_lists=self.keys.thread_lists(tenant, fields.get("user", ""), fields.get("thread", "")),
            most_listed=INDEX_LIMIT,
            chat=pointer,
            chat_turn=int(chat.get("turn", 0)),
            chat_digest=chat.get("digest", ""),
            chat_seen=chat.get("seen", ""),
            fields=[word for pair in (*fields.items(), ("pointer", pointer)) for word in pair],
        )
        match await self._scripts.run(call):
            case [b"ok"]:
                return "ok"
            case [b"taken", _]:
                return "taken"
            case [b"expired"]:
                return "expired"
        raise StreamAbsent(name)


def _fields(words: list[bytes]) -> dict[str, str]:
    decoded = [word.decode() for word in words]
    return dict(zip(decoded[::2], decoded[1::2], strict=True))
