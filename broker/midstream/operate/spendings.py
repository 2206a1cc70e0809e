"""What tenants, users, threads, models and keys have cost, by days (PROTOCOL: Money/Sums)."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal

from midstream.log.entries import Json
from midstream.money.prices import Cost
from midstream.operate.operator import Operator

By = Literal["tenant", "user", "thread", "model", "key", "day"]
MOST_DAYS: Final = 100


class PeriodError(ValueError):
    """The days are in the wrong order, or too many."""


async def spendings(operator: Operator, by: By, first: date | None, last: date | None, tenant: str | None) -> Json:
    """Return the sums of the days `first` to `last`, both included; None: today.

    Raises:
        PeriodError: The days are in the wrong order, or too many.
        LogUnavailable: Redis did not answer.
    """
    last = last or max(first or date.min, datetime.now(UTC).date())
    first = first or last
    days = (last - first).days + 1
    if not 1 <= days <= MOST_DAYS:
        raise PeriodError(f"`from` is a day up to `to`, and there are {MOST_DAYS} days at most.")
    currency = operator.settings.prices.currency
    sums: Counter[tuple[str, ...]] = Counter()
    for day in (f"{first + timedelta(days=number)}" for number in range(days)) if currency else ():
        # One at a time, because a day may have thousands of rows, and the server does nothing else meanwhile.
        rows = await operator.resources.operations.costs.day("tenant" if by == "day" else by, currency, day)
        for row, nano in rows.items():
            of, _, name = row.partition("/")
            if operator.only_tenant in (None, of) and tenant in (None, of):
                sums[_name(by, of, name, day)] += nano
    fields = {"tenant": ("tenant",), "model": ("model",), "day": ("day",)}.get(by, ("tenant", by))
    ordered = sorted(sums.items()) if by == "day" else sums.most_common()
    return {
        "by": by,
        "from": f"{first}",
        "to": f"{last}",
        "currency": currency or None,
        "total": Cost(sums.total(), currency).amount,
        "data": [
            dict(zip(fields, (part or None for part in name), strict=True)) | {"amount": Cost(nano, currency).amount}
            for name, nano in ordered
        ],
    }


def _name(by: By, tenant: str, name: str, day: str) -> tuple[str, ...]:
    match by:
        case "day":
            return (day,)
        case "model":
            return (name,)
        case "tenant":
            return (tenant,)
    return (tenant, name)
