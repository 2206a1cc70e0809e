"""What streams are looked for by: the part of a state that says what a stream is and how far it has come."""

from collections.abc import Sequence
from typing import NamedTuple, Self

from redis.asyncio import Redis

from midstream.log import calls
from midstream.log.keys import Keys
from midstream.log.scripts import Scripts
from midstream.log.state import Status


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
        if not values or values[0] in (None, b"deleted"):
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


class FactReader:
    """Reads facts under one key prefix."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._keys = Keys(prefix)
        self._scripts = Scripts(redis)

    async def read(self, stream_ids: Sequence[str]) -> list[Facts | None]:
        """Return the facts of each stream, None where there is none, in one round trip.

        Raises:
            LogUnavailable: Redis did not answer.
        """
        states = [self._keys.state(each) for each in stream_ids]
        return [Facts.parse(row) for row in await self._scripts.run(calls.ReadFacts(names=_NAMES, states=states))]
