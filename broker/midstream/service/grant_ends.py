"""The ends of grants in mid-stream: tails, waits and sockets do not outlive them (PROTOCOL: Access/Ending)."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from midstream.access.grant import Grant
from midstream.access.refusals import Ending
from midstream.service.credentials import Credentials

logger = logging.getLogger(__name__)

AT_LEAST_S: Final = 1.0
"""Two looks are so far apart, however many grants end in between; so long may a tail outlive its grant."""
AT_MOST_S: Final = 60.0
"""Looks are so close while any grant has an end: the machine's time may be set meanwhile."""


class Holder(Protocol):
    """What lasts longer than the request that it came with."""

    grant: Grant | None

    def refuse(self, reason: str) -> None:
        """End, because the grant is over."""
        ...


class GrantEnds:
    """Refuses each holder whose grant is over.

    There is one timer for all of them, for the earliest end, and none while no grant has one. A key that is revoked is
    noticed when the key file is read again.

    Args:
        credentials: Say whether a grant is over.
        readers: Returns the tails and waits that there are.
    """

    def __init__(self, credentials: Credentials, readers: Callable[[], Iterable[Holder]]) -> None:
        self.credentials = credentials
        self._readers = readers
        self._others: set[Holder] = set()
        self._due_s: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        credentials.on_change = self._look

    def stop(self) -> None:
        """Look no more."""
        self._others.clear()
        if self._timer is not None:
            self._timer.cancel()

    def watched(self, grant: Grant) -> Grant | None:
        """Return what a holder keeps of a grant, whose end is watched from now on: nothing of one without an end."""
        if not self.credentials.can_end(grant):
            return None
        if grant.expires_s is not None and (self._due_s is None or grant.expires_s < self._due_s):
            self._schedule(grant.expires_s)
        return grant

    def add(self, holder: Holder) -> None:
        """Refuse a holder, too, that is neither tail nor wait."""
        self._others.add(holder)

    def remove(self, holder: Holder) -> None:
        """Forget a holder."""
        self._others.discard(holder)

    def _schedule(self, due_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due_s = due_s
        delay_s = min(max(due_s - time.time(), AT_LEAST_S), AT_MOST_S)
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._look)

    def _look(self) -> None:
        """Refuse every holder whose grant is over, and look again when the next one ends."""
        self._due_s = None
        ahead: list[float] = []
        for holder in (*self._readers(), *self._others):
            grant = holder.grant
            if grant is None:
                continue
            ending = self.credentials.ending(grant)
            if ending is not None:
                self._refuse(holder, ending)
            elif grant.expires_s is not None:
                ahead.append(grant.expires_s)
        if ahead:
            self._schedule(min(ahead))
        elif self._timer is not None:
            self._timer.cancel()

    def _refuse(self, holder: Holder, ending: Ending) -> None:
        """Refuse one holder. Its failure never reaches another."""
        try:
            holder.refuse(ending)
        except Exception:
            logger.exception("a reader could not be told that its credential is over")
