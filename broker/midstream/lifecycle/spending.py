"""What a stream's calls have cost so far, read from the log (PROTOCOL: Money/Cost).

Only streams whose worker was lost, or gave them back, are looked at here, and those of a producer by HTTP, who may tell
the usage in an entry or in the end: a worker that ends its own call has heard the usage itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from midstream.log.entries import Json, Stored, decode, is_usage
from midstream.log.errors import LogError
from midstream.log.log import Log
from midstream.log.state import EXTERNAL, State
from midstream.money.prices import Cost, Prices

LAST_ENTRIES: Final = 32
"""A usage is the last thing that a source says, so few entries come after it: those of attempts that began anew."""


@dataclass(frozen=True, slots=True)
class Spending:
    """What is known of a stream's calls.

    Attributes:
        before: What the calls before the last one have cost.
        usage: What the provider counted for the last one.
    """

    before: Cost | None = None
    usage: Json | None = None

    def cost(self, model: str, prices: Prices) -> Cost | None:
        """Return what all calls have cost, as far as it is known; None: nothing is."""
        return prices.cost(model, self.usage, self.before)

    @classmethod
    def of(cls, spent: bytes | None, entries: list[Stored], intent: int) -> Self:
        """Return what a state and the last entries tell of a stream whose last call was begun in this epoch."""
        usages = [entry for entry in entries if entry.epoch >= intent and is_usage(entry.content)]
        before = Cost.parse((spent or b"").decode())
        return cls(before, decode(usages[-1].content, 0, 0).data if usages else None)


NOTHING_SPENT: Final = Spending()


async def spendings(log: Log, states: Mapping[str, State], prices: Prices) -> dict[str, Spending]:
    """Return what is known of those streams that have made a call which has a price, in one round trip at most.

    Raises:
        LogUnavailable: Redis did not answer.
    """
    names = [name for name, state in states.items() if _may_cost(state) and prices.of(state.model)]
    if not names:
        return {}
    rows = await log.many.last_entries(names, "spent", LAST_ENTRIES)
    return {
        name: Spending.of(*row, states[name].intent)
        for name, row in zip(names, rows, strict=True)
        if not isinstance(row, LogError)
    }


def _may_cost(state: State) -> bool:
    """Tell whether a call was begun; that of an external producer is its own affair, and nobody notes its intent."""
    return bool(state.intent) or (state.policy == EXTERNAL and state.started_ms > 0)
