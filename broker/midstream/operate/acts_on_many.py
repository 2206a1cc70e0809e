"""What an operator does about all streams that a search finds, in bounded steps (PROTOCOL: Operate/Many)."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from midstream.journal import audit
from midstream.log.entries import Json
from midstream.log.errors import NewerFormat, StreamAbsent
from midstream.log.registry import Listed
from midstream.operate.act import Act, ActName, ActRefusedError, CountChangedError
from midstream.operate.acts import Acts
from midstream.operate.operator import Operator
from midstream.operate.search import Search

PAGE: Final = 1_000
"""Streams of one search: a search among many streams that run takes as long as acting on some hundreds of them."""
CHUNK: Final = 100
"""Streams that are acted on before the time is looked at."""
AT_ONCE: Final = 4
"""Streams that are acted on side by side, so that other requests find connections to Redis."""
REFUSALS_NAMED: Final = 20
ROOM: Final = 10
"""An act may come to a tenth more streams than its operator expects: of many, some begin and end meanwhile."""


@dataclass(slots=True)
class Tally:
    """What an act on many streams has come to so far.

    Attributes:
        done: To how many streams it was done.
        refused: How many refused it, by the code of the refusal.
        refusals: The first of these, each with its tenant, id and code.
        next: The stream after which the act goes on; None: it is over.
    """

    done: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    refusals: list[Json] = field(default_factory=list)
    next: Listed | None = None

    @property
    def handled(self) -> int:
        """How many streams the act came to."""
        return self.done + self.refused.total()

    def refuse(self, row: Json, code: str) -> None:
        """Count a refusal."""
        self.refused[code] += 1
        if len(self.refusals) < REFUSALS_NAMED:
            self.refusals.append({"tenant": row["tenant"], "id": row["id"], "code": code})


class ActsOnMany:
    """One operator's act on all streams that fit some conditions.

    Every method raises `LogUnavailable` when Redis does not answer; what is done by then stays done.

    Raises:
        WhereError: There is no condition of a name, or a value does not fit.
    """

    def __init__(self, operator: Operator, act: Act, where: Iterable[tuple[str, str]]) -> None:
        self._operator = operator
        self._act = act
        self._where = list(where)
        self._search = Search(operator, self._where)
        self._acts = Acts(operator)
        self._room = asyncio.Semaphore(AT_ONCE)

    async def count(self) -> int:
        """Return how many streams fit now."""
        return await self._search.count()

    async def do(self, expect: int, after: Listed | None = None) -> Tally:
        """Act on streams until all that fit are done, or the time of one request is over.

        Args:
            expect: How many streams the operator expects; the act comes to no more than this and some room.
            after: Where an earlier request has stopped.

        Raises:
            CountChangedError: It is the first request, and many more streams fit. Nothing was done.
        """
        most = expect + expect // ROOM
        if after is None:
            count = await self.count()
            if count > most:
                raise CountChangedError(count, expect)
            await self._note("begun", {"count": count})
        tally = Tally(next=after)
        until_s = time.monotonic() + self._operator.settings.acts_step_s
        while most:
            page, last = await self._search.page(min(PAGE, most - tally.handled), tally.next)
            for first in range(0, len(page), CHUNK):
                await self._chunk(page[first : first + CHUNK], tally)
                if time.monotonic() >= until_s and first + CHUNK < len(page):
                    last = self._listed(page[first + CHUNK - 1])
                    break
            tally.next = last
            if last is None or tally.handled >= most or time.monotonic() >= until_s:
                break
        await self._note(audit.DONE, {"done": tally.done, "refused": dict(tally.refused)})
        return tally

    def _listed(self, row: Json) -> Listed:
        return Listed(self._operator.name_of(row["tenant"], row["id"]), row["created_ms"])

    async def _chunk(self, rows: Sequence[Json], tally: Tally) -> None:
        results = await asyncio.gather(*(self._one(row, tally) for row in rows), return_exceptions=True)
        for error in filter(None, results):  # only now, so that none of the others goes on alone
            raise error

    async def _one(self, row: Json, tally: Tally) -> None:
        name = self._operator.name_of(row["tenant"], row["id"])
        async with self._room:
            try:
                if self._act.name is ActName.DELETE and row["status"] != "ended":
                    await self._acts.require_live(name)
                await self._acts.attempt(self._act, name)
            except ActRefusedError as error:
                tally.refuse(row, error.code)
            except StreamAbsent:
                tally.refuse(row, "stream_not_found")
            except NewerFormat as error:
                tally.refuse(row, error.code)
            else:
                tally.done += 1

    async def _note(self, result: str, numbers: Mapping[str, Any]) -> None:
        where = [f"{name}={value}" for name, value in self._where]
        await self._operator.note(self._act.name, result, where=where, reason=self._act.reason, **numbers)
