"""Whether a tenant, or one of its streams, may have one more tail in this process (PROTOCOL: Limits/Tails)."""

from typing import Final

from midstream.access.refusals import LimitExceededError
from midstream.hub.tenant_tails import TenantTails
from midstream.settings import Settings

RETRY_AFTER_S: Final = 5
"""Tails last longer than other requests; nobody knows when one ends."""


class TailRoom:
    """The room for the tails of one tenant."""

    __slots__ = ("_settings", "_tenant", "_tenant_tails")

    def __init__(self, settings: Settings, tenant_tails: TenantTails, tenant: str) -> None:
        self._settings = settings
        self._tenant_tails = tenant_tails
        self._tenant = tenant

    def require(self, stream_tails: int = 0) -> None:
        """Do nothing where there is room for one more tail of a stream that has `stream_tails`.

        Raises:
            LimitExceededError: There is none.
        """
        if 0 < self._settings.tenant_tails <= self._tenant_tails.of(self._tenant):
            raise LimitExceededError("tails", "tenant", RETRY_AFTER_S)
        if 0 < self._settings.stream_tails <= stream_tails:
            raise LimitExceededError("tails", "stream", RETRY_AFTER_S)
