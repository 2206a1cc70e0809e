"""What a start is counted for: its tenant, its user and its key, with what each may start (PROTOCOL: Limits/Starts)."""

from midstream.access.allowance import Allowances
from midstream.access.api_keys import hash_of
from midstream.access.grant import Grant
from midstream.log.quotas import Quota, Start


def start_of(name: str, grant: Grant, allowances: Allowances, size_bytes: int) -> Start:
    """Return the start of a stream with this name, of `size_bytes`, as it is counted."""
    quotas = {grant.tenant: ("tenant", _quota("tenant", allowances))}
    if grant.user is not None:
        quotas[grant.owner] = ("user", _quota("user", allowances))
    if key := hash_of(grant.credential):
        quotas[f"{grant.tenant}/key-{key}"] = ("key", _quota("key", allowances))
    return Start(name, quotas, size_bytes, allowances.limit("tenant_stored_bytes"))


def _quota(of: str, allowances: Allowances) -> Quota:
    return Quota(
        allowances.limit(f"{of}_starts_per_minute"),
        allowances.settings.starts_burst_s,
        allowances.limit(f"{of}_generations"),
    )
