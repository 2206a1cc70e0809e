"""How many requests begin in one turn of the event loop, and whose are next (PROTOCOL: Limits/Turns).

Everything that came by then is handled in one turn, and whatever comes during it waits for its end. Without a bound a
hundred requests that one client sends at once keep all others waiting for 10 to 20 ms.

A request that is put off waits with its connection, which has no other one in progress. So as many wait as there are
connections, at most, and the requests of a connection keep their order.
"""

import asyncio
import contextvars
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Any, Final

MOST: Final = 8
"""Requests that begin in one turn: a tail takes 0.1 ms of it."""
WEIGHTS: Final = {"POST": 8}
"""As how many requests one counts, by its method: to read a conversation takes 1 ms and more."""
_CREDENTIALS: Final = (b"authorization", b"x-api-key", b"cookie")
"""The first of these tells senders apart: a cookie beside a key is anybody's, and could be another one each time."""

Start = Callable[[], None]


def sender_of(scope: Mapping[str, Any]) -> bytes:
    """Return what tells senders apart before a credential is verified: the credential, or else the address."""
    head = dict(scope["headers"])
    for name in _CREDENTIALS:
        if name in head:
            return b" ".join(head[name].split())  # whatever blanks are between its words, it is the same
    return str(scope["client"] and scope["client"][0]).encode()


class Turns:
    """Lets requests begin, a few in each turn, and the senders of those that wait one after the other.

    While nothing waits this is a subtraction for each request, and one callback for `MOST` of them. Every sender that
    waits has a row of its own, however many there are: so nobody's request waits for more others than came before it.
    """

    def __init__(self) -> None:
        self._left = MOST
        self._waiting: OrderedDict[bytes, deque[tuple[int, Start]]] = OrderedDict()
        self._comes_in: asyncio.AbstractEventLoop | None = None
        """The loop in which the next turn is awaited."""
        self._context = contextvars.copy_context()

    def admits(self, method: str) -> bool:
        """Tell whether a request may begin in this turn, and count it then; else put it off."""
        if self._left <= 0 or self._waiting:
            return False
        self._left -= WEIGHTS.get(method, 1)
        if self._left <= 0:
            self._await_next()
        return True

    def put_off(self, scope: Mapping[str, Any], start: Start) -> None:
        """Have `start` called in one of the next turns."""
        self._waiting.setdefault(sender_of(scope), deque()).append((WEIGHTS.get(scope["method"], 1), start))
        self._await_next()

    def _await_next(self) -> None:
        loop = asyncio.get_running_loop()
        if self._comes_in is not loop:
            self._comes_in = loop
            loop.call_soon(self._begin, context=self._context)  # not in the context of the request that is too many

    def _begin(self) -> None:
        """A turn begins."""
        self._comes_in = None
        self._left = MOST
        due = []
        while self._left > 0 and self._waiting:
            sender, row = self._waiting.popitem(last=False)
            weight, start = row.popleft()
            self._left -= weight
            due.append(start)
            if row:
                self._waiting[sender] = row  # again, after the others
        if self._left <= 0:
            self._await_next()
        for start in due:
            start()
