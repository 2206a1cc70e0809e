"""The outbox: ends that outlets have not taken yet (PROTOCOL: Ends). An outlet is a webhook's receiver, or the hook.

The script that takes an ended stream off the reapers' list writes it, once for each stream. So an end whose process
died is put there by the reaper that finds it. An outlet's ends stand in lanes, one for each thread, and only the first
end of a lane is ever handed out.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from redis.asyncio import Redis

from midstream.log import outbox_calls as calls
from midstream.log.calls import Argument
from midstream.log.connect import keys_of
from midstream.log.keys import Keys
from midstream.log.redis_errors import log_errors
from midstream.log.registry import by_shard
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
        self._keys = keys_of(redis, prefix)
        self._keep_ms = keep_ms
        self._most_ends = most_ends
        self._scripts = Scripts(redis)

    async def name(self, kind: str, outlets: Sequence[Outlet]) -> list[str]:
        """Have ends noted for these outlets from now on; return those of the kind that were forgotten."""
        named: list[Argument] = []
        for each in outlets:
            named += [each.name, f"{each.tenant} {self._keep_ms} {self._most_ends}"]
        answers = await self._scripts.run_in_order(
            *(
                calls.NameOutlets(
                    outlets=keys.outlets, kind=kind, forget_ms=FORGET_MS, keep_ms=self._keep_ms, named=named
                )
                for keys in self._keys.shards
            )
        )
        return sorted({each.decode() for _, forgotten in answers for each in forgotten})

    async def take(self, per_outlet: Mapping[str, int], claim_ms: int, furthest_ms: int) -> tuple[int, dict[str, Box]]:
        """Take up to so many ends of each outlet, and nobody else is handed them for `claim_ms`.

        Return the server's time, and each outlet's box. A lane whose next time is further ahead than `furthest_ms` is
        due too.
        """
        if len(self._keys.shards) > 1:
            return await self._take_of_shards(per_outlet, claim_ms, furthest_ms)
        _, now_ms, *boxes = await self._scripts.run(self._taking(self._keys, per_outlet, claim_ms, furthest_ms))
        return int(now_ms), {outlet: _box(outlet, *box) for outlet, box in zip(per_outlet, boxes, strict=True)}

    async def _take_of_shards(
        self, per_outlet: Mapping[str, int], claim_ms: int, furthest_ms: int
    ) -> tuple[int, dict[str, Box]]:
        """Do as `take` on a cluster: look into all shards, and take from one after the other that has something."""
        shards = self._keys.shards
        nothing = dict.fromkeys(per_outlet, 0)
        answers = await self._scripts.run_in_order(*(self._taking(keys, nothing, 0, 0) for keys in shards))
        left = dict(per_outlet)
        taken: dict[str, list[Taken]] = {outlet: [] for outlet in per_outlet}
        for keys, (_, _, *boxes) in random.sample([*zip(shards, answers, strict=True)], len(shards)):
            most = {outlet: left[outlet] if box[0] else 0 for outlet, box in zip(per_outlet, boxes, strict=True)}
            if any(most.values()):
                _, _, *handed_out = await self._scripts.run(self._taking(keys, most, claim_ms, furthest_ms))
                for outlet, box in zip(per_outlet, handed_out, strict=True):
                    taken[outlet] += _box(outlet, *box).taken
                    left[outlet] = per_outlet[outlet] - len(taken[outlet])
        together = {
            outlet: _together([_box(outlet, *answer[number]) for answer in answers], taken[outlet])
            for number, outlet in enumerate(per_outlet, 2)
        }
        return min(int(answer[1]) for answer in answers), together

    def _taking(self, keys: Keys, per_outlet: Mapping[str, int], claim_ms: int, furthest_ms: int) -> calls.TakeEnds:
        words = [word for outlet, most in per_outlet.items() for word in (outlet, most)]
        return calls.TakeEnds(prefix=keys.prefix, claim_ms=claim_ms, furthest_ms=furthest_ms, per_outlet=words)

    async def look(self, outlets: Sequence[str]) -> tuple[int, dict[str, Box]]:
        """Do as `take`, and take nothing."""
        return await self.take(dict.fromkeys(outlets, 0), 0, 0)

    async def settle(self, taken: Taken, result: Result, delay_ms: int = 0) -> bool:
        """Say what became of an end; return whether that is news.

        `again` hands it out once more after `delay_ms`, before any other end of its lane.
        """
        call = calls.SettleEnd(
            prefix=self._keys.near(taken.stream_id).prefix,
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
        (words,) = await self._scripts.in_order(("HGETALL", self._keys.shards[0].outlets))
        rows = sorted(zip(words[::2], words[1::2], strict=True))
        return [Outlet(name.decode(), row.decode().partition(" ")[0]) for name, row in rows]

    async def abandoned(self, outlet: str, limit: int = MOST_ABANDONED) -> dict[str, int]:
        """Return the streams whose ends were abandoned, by their names, with the times of that, newest first."""
        rows: list[tuple[bytes, float]] = []
        for keys in self._keys.shards:
            with log_errors:
                rows += await self._redis.zrange(
                    f"{keys.outbox(outlet)}:abandoned", 0, limit - 1, desc=True, withscores=True
                )
        rows.sort(key=lambda row: -row[1])
        return {name.decode(): int(ms) for name, ms in rows[:limit]}

    async def send_again(self, outlet: str, stream_ids: Sequence[str]) -> int:
        """Put ends that were abandoned into the outbox again; return how many there were."""
        answers = await self._scripts.run_in_order(
            *(
                calls.SendAgain(prefix=keys.prefix, outlet=outlet, keep_ms=self._keep_ms, stream_ids=names)
                for keys, names in by_shard(self._keys, stream_ids).items()
            )
        )
        return sum(int(number) for _, number in answers)


def _box(outlet: str, waiting: int, oldest_ms: bytes, lost: bytes | int, abandoned: int, rows: list[list[Any]]) -> Box:
    oldest = int(float(oldest_ms)) if oldest_ms else None
    return Box(waiting, oldest, int(lost), abandoned, [_taken(outlet, *row) for row in rows])


def _together(boxes: Sequence[Box], taken: Sequence[Taken]) -> Box:
    """Return as one what the parts of the log have in an outlet's outbox, with what was handed out."""
    return Box(
        sum(box.waiting for box in boxes),
        min((box.oldest_ms for box in boxes if box.oldest_ms is not None), default=None),
        sum(box.lost for box in boxes),
        sum(box.abandoned for box in boxes),
        taken,
    )


def _taken(outlet: str, lane: bytes, name: bytes, tries: int, words: list[bytes]) -> Taken:
    facts = {key.decode(): value for key, value in zip(words[::2], words[1::2], strict=True)}
    return Taken(outlet, lane.decode(), name.decode(), tries, facts)
