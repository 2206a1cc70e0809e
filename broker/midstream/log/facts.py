"""What streams are looked for by: the part of a state that says what a stream is and how far it has come."""

from collections.abc import Sequence
from typing import NamedTuple, Self

from redis.asyncio import Redis

from midstream.log import calls
from midstream.log.connect import keys_of
from midstream.log.keys import Key
from midstream.log.registry import by_shard
from midstream.log.scripts import Scripts
from midstream.log.state import Status


class Kind(NamedTuple):
    """What lists are filtered by. It is read in a third of the time that all facts take."""

    status: str
    outcome: str
    thread: str


class Facts(NamedTuple):
    """Fields of a stream's state by their names; see `State`. A tuple: thousands are read for one search."""

    status: Status = "queued"
    outcome: str = ""
    code: str = ""
    user: str = ""
    model: str = ""
    thread: str = ""
    metadata: str = "{}"
    upstream_id: str = ""
    epoch: int = 0
    tail: int = 0
    tail_ms: int = -1
    ttl_s: int = 0
    created_ms: int = 0
    started_ms: int = 0
    ended_ms: int = 0

    @property
    def last_entry_ms(self) -> int | None:
        """When the last append was; None: there was none, or an older version's."""
        return self.created_ms + self.tail_ms if self.tail_ms >= 0 else None

    @classmethod
    def parse(cls, values: Sequence[bytes | None] | None) -> Self | None:
        """Return the facts from a state's values, in the order of the fields.

        None where there is no stream, or no version of ours wrote its state: one such state must not end all searches.
        """
        if not values or values[0] in _ABSENT:
            return None
        try:
            return cls(
                *(
                    default if value is None else int(value) if type(default) is int else value.decode()
                    for value, default in zip(values, _DEFAULTS, strict=True)
                )  # type: ignore[arg-type]
            )
        except ValueError:
            return None


_DEFAULTS = tuple(Facts())
_NAMES = " ".join(Facts._fields)
_KIND_NAMES = " ".join(Kind._fields)
_ABSENT = (None, b"deleted")
"""The status of a stream that there is not, or not any more."""


class FactReader:
    """Reads facts under one key prefix."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._keys = keys_of(redis, prefix)
        self._scripts = Scripts(redis)

    async def read(self, stream_ids: Sequence[str]) -> list[Facts | None]:
        """Return the facts of each stream, None where there is none, in one round trip.

        Raises:
            LogUnavailable: Redis did not answer.
        """
        return [Facts.parse(row) for row in await self._rows(_NAMES, stream_ids)]

    async def kinds(self, stream_ids: Sequence[str]) -> list[Kind | None]:
        """Do as `read`, for what lists are filtered by."""
        return [
            None if not row or row[0] in _ABSENT else Kind(*((value or b"").decode() for value in row))
            for row in await self._rows(_KIND_NAMES, stream_ids)
        ]

    async def _rows(self, names: str, stream_ids: Sequence[str]) -> list[list[bytes | None] | None]:
        if len(self._keys.shards) == 1:
            return await self._scripts.run(calls.ReadFacts(names=names, states=self._states(stream_ids)))
        groups = by_shard(self._keys, stream_ids)
        answers = await self._scripts.run_in_order(
            *(calls.ReadFacts(names=names, states=self._states(each)) for each in groups.values())
        )
        rows = {
            name: row
            for each, answer in zip(groups.values(), answers, strict=True)
            for name, row in zip(each, answer, strict=True)
        }
        return [rows[name] for name in stream_ids]

    def _states(self, stream_ids: Sequence[str]) -> list[Key]:
        return [self._keys.state(each) for each in stream_ids]
