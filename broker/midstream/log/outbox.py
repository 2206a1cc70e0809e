"""The outbox: ends that outlets have not taken yet (PROTOCOL: Ends). An outlet is a webhook's receiver, or the hook.

The script that takes an ended stream off the reapers' list writes it, once for each stream. So an end whose process
died is put there by the reaper that finds it. An outlet's ends stand in lanes, one for each thread, and only the first
end of a lane is ever handed out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from redis.asyncio import Redis

from midstream.log import outbox_calls as calls
from midstream.log.calls import Argument
from midstream.log.keys import Keys
from midstream.log.redis_errors import log_errors
from midstream.log.scripts import Scripts

Result = Literal["taken", "again", "abandoned"]

EVERYBODY: Final = "*"
"""The tenant of an outlet that is given the ends of all tenants."""
MOST_ABANDONED: Final = 10_000
"""Ends that were abandoned and can be sent again, of one outlet: the newest."""
FORGET_MS: Final = 3_600_000
"""An outlet that no process has named for so long, while others of its kind were named, was taken away."""


@dataclass(frozen=True, slots=True)
class Outlet:
    """What ends are handed to.

    Attributes:
        name: Begins with its kind: `webhook` or `hook`.
        tenant: Whose ends it is given; `EVERYBODY` is all tenants.
    """

    name: str
    tenant: str


@dataclass(frozen=True, slots=True)
class Taken:
    """An end that was handed out.

    Attributes:
        outlet: The name of the outlet that is to have it.
        lane: Where it is the first.
        stream_id: The stream's name.
        tries: How often it was handed out, with this time.
        facts: What was noted of the stream; empty: it was deleted, or nobody took the end for too long.
    """

    outlet: str
    lane: str
    stream_id: str
    tries: int
    facts: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Box:
    """What one outlet's outbox holds.

    Attributes:
        waiting: How many ends wait.
        oldest_ms: When the first of them ended, by the server's clock; None: there is none.
        lost: How many ends found the outbox full.
        abandoned: How many ends were given up and can be sent again.
        taken: What was handed out.
    """

    waiting: int
    oldest_ms: int | None
    lost: int
    abandoned: int
    taken: Sequence[Taken]


class Outbox:
    """The outboxes of all outlets under one key prefix; raises `LogUnavailable` when Redis does not answer.

    Args:
        keep_ms: How long an end is kept for an outlet.
        most_ends: How many ends wait for one outlet; further ones are not kept for it, and counted.
    """

    def __init__(self, redis: Redis, prefix: str, keep_ms: int, most_ends: int) -> None:
        self._redis = redis
        self._keys = Keys(prefix)
        self._keep_ms = keep_ms
        self._most_ends = most_ends
        self._scripts = Scripts(redis)

    async def name(self, kind: str, outlets: Sequence[Outlet]) -> list[str]:
        """Have ends noted for these outlets from now on; return those of the kind that were forgotten."""
        named: list[Argument] = []
        for each in outlets:
            named += [each.name, f"{each.tenant} {self._keep_ms} {self._most_ends}"]
        call = calls.NameOutlets(
            outlets=self._keys.outlets, kind=kind, forget_ms=FORGET_MS, keep_ms=self._keep_ms, named=named
        )
        _, forgotten = await self._scripts.run(call)
        return [each.decode() for each in forgotten]

    async def take(self, per_outlet: Mapping[str, int], claim_ms: int, furthest_ms: int) -> tuple[int, dict[str, Box]]:
        """Take up to so many ends of each outlet, and nobody else is handed them for `claim_ms`.

        Return the server's time, and each outlet's box. A lane whose next time is further ahead than `furthest_ms` is
        due too.
        """
        words = [word for outlet, most in per_outlet.items() for word in (outlet, most)]
        call = calls.TakeEnds(prefix=self._keys.prefix, claim_ms=claim_ms, furthest_ms=furthest_ms, per_outlet=words)
        _, now_ms, *boxes = await self._scripts.run(call)
        return int(now_ms), {outlet: _box(outlet, *box) for outlet, box in zip(per_outlet, boxes, strict=True)}

    async def look(self, outlets: Sequence[str]) -> tuple[int, dict[str, Box]]:
        """Do as `take`, and take nothing."""
        return await self.take(dict.fromkeys(outlets, 0), 0, 0)

    async def settle(self, taken: Taken, result: Result, delay_ms: int = 0) -> bool:
        """Say what became of an end; return whether that is news.

        `again` hands it out once more after `delay_ms`, before any other end of its lane.
        """
        call = calls.SettleEnd(
            prefix=self._keys.prefix,
            outlet=taken.outlet,
            lane=taken.lane,
            stream_id=taken.stream_id,
            result=result,
            tries=taken.tries,
            delay_ms=delay_ms,
            keep_ms=self._keep_ms,
            most_abandoned=MOST_ABANDONED,
        )
        _, is_news = await self._scripts.run(call)
        return bool(is_news)

    async def withhold(self, name: str) -> None:
        """Have no outlet told of the end of a stream that has expired."""
        await self._scripts.in_order(("DEL", self._keys.notice(name)))

    async def outlets(self) -> list[Outlet]:
        """Return all outlets that processes have named."""
        (words,) = await self._scripts.in_order(("HGETALL", self._keys.outlets))
        rows = sorted(zip(words[::2], words[1::2], strict=True))
        return [Outlet(name.decode(), row.decode().partition(" ")[0]) for name, row in rows]

    async def abandoned(self, outlet: str, limit: int = MOST_ABANDONED) -> dict[str, int]:
        """Return the streams whose ends were abandoned, by their names, with the times of that, newest first."""
        with log_errors:
            rows = await self._redis.zrange(
                f"{self._keys.outbox(outlet)}:abandoned", 0, limit - 1, desc=True, withscores=True
            )
        return {name.decode(): int(ms) for name, ms in rows}

    async def send_again(self, outlet: str, stream_ids: Sequence[str]) -> int:
        """Put ends that were abandoned into the outbox again; return how many there were."""
        call = calls.SendAgain(prefix=self._keys.prefix, outlet=outlet, keep_ms=self._keep_ms, stream_ids=stream_ids)
        _, number = await self._scripts.run(call)
        return int(number)


def _box(outlet: str, waiting: int, oldest_ms: bytes, lost: bytes | int, abandoned: int, rows: list[list[Any]]) -> Box:
    oldest = int(float(oldest_ms)) if oldest_ms else None
    return Box(waiting, oldest, int(lost), abandoned, [_taken(outlet, *row) for row in rows])


def _taken(outlet: str, lane: bytes, name: bytes, tries: int, words: list[bytes]) -> Taken:
    facts = {key.decode(): value for key, value in zip(words[::2], words[1::2], strict=True)}
    return Taken(outlet, lane.decode(), name.decode(), tries, facts)
