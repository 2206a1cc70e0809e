"""Warns where a budget is nearly spent, or is spent and refuses nothing (PROTOCOL: Money/Budgets)."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from midstream import counters
from midstream.log.budgets import Budget, Budgets
from midstream.log.entries import Json

logger = logging.getLogger(__name__)

MOST_LOGGED: Final = 10_000
WHOLE: Final = 100


class BudgetWarnings:
    """Warns from a share of a budget on: in each answer, and once in the log of each process for each period."""

    def __init__(self, from_percent: int) -> None:
        self._from_percent = from_percent
        self._logged: set[tuple[str, str, str, bool]] = set()

    def of(self, budgets: Budgets, spent: Sequence[int]) -> list[Json]:
        """Return the warnings for a start whose budgets are spent so far; empty: none is nearly spent."""
        return [
            self._warning(budget, nano * WHOLE // budget.nano)
            for budget, nano in zip(budgets.each, spent, strict=False)
            if nano * WHOLE >= budget.nano * self._from_percent
        ]

    def _warning(self, budget: Budget, percent: int) -> Json:
        message = f"{percent} % of the budget of this {budget.of} for the {budget.period} is spent."
        counters.count("budget_warnings", budget.of, f"{budget.period}_budget")
        now = datetime.now(UTC)
        period = f"{now:%Y-%m-%d}" if budget.period == "day" else f"{now:%Y-%m}"
        key = (budget.of, budget.row, period, percent >= WHOLE)
        if key not in self._logged:
            if len(self._logged) >= MOST_LOGGED:
                self._logged.clear()
            self._logged.add(key)
            tenant = budget.row.partition("/")[0]
            logger.warning("%s of tenant %s: %s", budget.of, tenant, message, extra={"tenant": tenant})
        code = "budget_spent" if percent >= WHOLE else "budget_nearly_spent"
        return {"code": code, "of": budget.of, "period": budget.period, "percent": percent, "message": message}


def rest_of_period_s(period: str) -> int:
    """Return for how many seconds the day, or the month, still lasts by UTC."""
    now = datetime.now(UTC)
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    end = day + timedelta(days=1) if period == "day" else (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    return int((end - now).total_seconds()) + 1
