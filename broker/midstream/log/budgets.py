"""What a tenant, a user and a key may spend in a day and a month (PROTOCOL: Money/Budgets)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import orjson

Period = Literal["day", "month"]
PERIODS: Final[tuple[Period, ...]] = ("day", "month")


@dataclass(frozen=True, slots=True)
class Budget:
    """One budget.

    Attributes:
        of: Whose it is: `tenant`, `user` or `key`.
        period: For how long.
        row: The row of the sums that it bounds.
        nano: How much may be spent, in billionths of the currency.
    """

    of: str
    period: Period
    row: str
    nano: int


@dataclass(frozen=True, slots=True)
class Budgets:
    """The budgets that a start is looked at for.

    Attributes:
        currency: Of what.
        each: The budgets.
        refuses: Whether one that is spent refuses the start.
    """

    currency: str = ""
    each: Sequence[Budget] = ()
    refuses: bool = False

    def words(self) -> bytes:
        """Return what the script that admits a start takes; empty where there is no budget."""
        if not self.each:
            return b""
        rows = [(budget.of, budget.period, budget.row, str(budget.nano)) for budget in self.each]
        return orjson.dumps({"currency": self.currency, "refuses": self.refuses, "rows": rows})


NO_BUDGETS: Final = Budgets()
