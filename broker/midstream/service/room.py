"""What a tenant may hold open in this process: tails, waits, sockets, bodies (PROTOCOL: Limits/Tails ff.)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from midstream.access.grant import Grant
from midstream.access.refusals import LimitExceededError
from midstream.hub.tenant_counts import TenantCounts
from midstream.service.resources import Resources

RETRY_AFTER_S: Final = 5
"""Tails, waits and sockets last longer than other requests; nobody knows when one ends."""


class Room:
    """The room of one caller's tenant. Each method raises `LimitExceededError` where there is none left."""

    __slots__ = ("_grant", "_resources")

    def __init__(self, resources: Resources, grant: Grant) -> None:
        self._resources = resources
        self._grant = grant

    def require_tail(self, stream_tails: int = 0) -> None:
        """Refuse unless there is room for one more tail of a stream that has `stream_tails`."""
        resources, grant = self._resources, self._grant
        of_tenant, of_stream = resources.credentials.allowances(grant).most_tails
        if 0 < of_tenant <= resources.hub.tenant_tails.of(grant.tenant):
            raise LimitExceededError("tails", "tenant", RETRY_AFTER_S)
        if 0 < of_stream <= stream_tails:
            raise LimitExceededError("tails", "stream", RETRY_AFTER_S)

    @contextmanager
    def wait(self, *, is_exempt: bool) -> Iterator[None]:
        """Hold the room of a wait; one that is exempt is counted, and never refused."""
        if not is_exempt:
            self._require("waits", self._resources.waits)
        with self._hold(self._resources.waits):
            yield

    @contextmanager
    def socket(self) -> Iterator[None]:
        """Hold the room of a WebSocket."""
        self._require("sockets", self._resources.sockets)
        with self._hold(self._resources.sockets):
            yield

    @contextmanager
    def body(self, more_bytes: int) -> Iterator[None]:
        """Hold the room of a part of a request's body."""
        self._require("bodies_bytes", self._resources.bodies_bytes, more_bytes)
        with self._hold(self._resources.bodies_bytes, more_bytes):
            yield

    def _require(self, limit: str, counts: TenantCounts, more: int = 1) -> None:
        most = self._resources.credentials.allowances(self._grant).limit(f"tenant_{limit}")
        if 0 < most < counts.of(self._grant.tenant) + more:
            raise LimitExceededError(limit, "tenant", RETRY_AFTER_S)

    @contextmanager
    def _hold(self, counts: TenantCounts, count: int = 1) -> Iterator[None]:
        counts.add(self._grant.tenant, count)
        try:
            yield
        finally:
            counts.remove(self._grant.tenant, count)
