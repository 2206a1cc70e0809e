"""What a start is counted for: its tenant, its user and its key, with what each may start (PROTOCOL: Limits/Starts)."""

from midstream.access.allowance import Allowances
from midstream.access.api_keys import hash_of
from midstream.access.grant import Grant
from midstream.log.budgets import NO_BUDGETS, PERIODS, Budget, Budgets
from midstream.log.quotas import Quota, Start
from midstream.money.prices import NANO
from midstream.settings import Settings

CENT_NANO = NANO // 100


def start_of(name: str, grant: Grant, allowances: Allowances, size_bytes: int, settings: Settings) -> Start:
    """Return the start of a stream with this name, of `size_bytes`, as it is counted."""
    key = hash_of(grant.credential)
    quotas = {grant.tenant: ("tenant", _quota("tenant", allowances))}
    rows = {"tenant": grant.tenant}
    if grant.user is not None:
        quotas[grant.owner] = ("user", _quota("user", allowances))
        rows["user"] = f"{grant.tenant}/{grant.user}"
    if key:
        quotas[f"{grant.tenant}/key-{key}"] = ("key", _quota("key", allowances))
        rows["key"] = f"{grant.tenant}/{key}"
    budgets = _budgets(rows, allowances, settings)
    return Start(name, quotas, size_bytes, allowances.limit("tenant_stored_bytes"), budgets)


def _quota(of: str, allowances: Allowances) -> Quota:
    return Quota(
        allowances.limit(f"{of}_starts_per_minute"),
        allowances.settings.starts_burst_s,
        allowances.limit(f"{of}_generations"),
    )


def _budgets(rows: dict[str, str], allowances: Allowances, settings: Settings) -> Budgets:
    currency = settings.prices.currency
    if not currency:
        return NO_BUDGETS
    each = [
        Budget(of, period, row, cents * CENT_NANO)
        for of, row in rows.items()
        for period in PERIODS
        if (cents := allowances.limit(f"{of}_{period}_budget_cents"))
    ]
    return Budgets(currency, each, settings.budget_refuses)
