"""A socket's credential: its end is announced, a new one puts it off, and it ends the socket (PROTOCOL: Ws/Renewal)."""

import asyncio
import time
from collections.abc import Mapping
from typing import Final

import orjson

from midstream.access.grant import Grant
from midstream.http.problems import Problem
from midstream.http.socket.ws_socket import Outbox, SocketSink, TailName
from midstream.service.caller import Caller

NOTICE_S: Final = 30.0
"""So long before its credential ends a client is asked for a new one."""


class SocketCredential:
    """Holds a socket's caller, and ends the socket's tails and then the socket when the caller's credential is over.

    Attributes:
        grant: What the caller was let in by, if it can end; watched like the grants of tails.
        refused: Done when it has ended, and the client was sent that its tails are closed.
    """

    def __init__(self, outbox: Outbox, sinks: Mapping[TailName, SocketSink]) -> None:
        self._caller: Caller | None = None
        self.grant: Grant | None = None
        self.refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._outbox = outbox
        self._sinks = sinks
        self._reason = ""
        self._notice: asyncio.TimerHandle | None = None

    @property
    def caller(self) -> Caller:
        """Who the socket is of.

        Raises:
            RuntimeError: Nobody was let in yet.
        """
        if self._caller is None:
            raise RuntimeError("nobody was let in")
        return self._caller

    def admit(self, caller: Caller) -> None:
        """Take the first caller, or one with a newer credential; its tails end with that one from now on.

        Raises:
            Problem: 403 `other_caller`: the new credential opens other streams.
        """
        if self._caller is not None and not self._caller.is_renewed_by(caller):
            detail = "A new credential is for the same tenant, user, stream and thread; for others open a socket."
            raise Problem(403, "other_caller", detail)
        self.release()
        self._caller = caller
        caller.watch(self)
        caller.entrust(self, *(sink.tail for sink in self._sinks.values()))
        left_s = 0.0 if caller.expires_s is None else caller.expires_s - time.time()
        if left_s > NOTICE_S:
            notice = orjson.dumps({"type": "expiring", "in_ms": round(NOTICE_S * 1_000)})
            self._notice = asyncio.get_running_loop().call_later(left_s - NOTICE_S, self._outbox.put, notice)

    def release(self) -> None:
        """Watch the credential no longer."""
        if self._caller is not None:
            self._caller.unwatch(self)
        if self._notice is not None:
            self._notice.cancel()

    def refuse(self, reason: str) -> None:
        """End all tails, and then the socket."""
        if not self._reason:
            self._reason = reason
            for sink in tuple(self._sinks.values()):
                sink.tail.refuse(reason)
            self.end_if_due()

    def end_if_due(self) -> None:
        """End the socket if its credential is over and its last tail is closed."""
        if self._reason and not self._sinks:
            message = "The credential of this socket is over. Come back with a new one."
            self._outbox.put(orjson.dumps({"type": "error", "code": self._reason, "message": message}), self._end)

    def _end(self) -> None:
        if not self.refused.done():
            self.refused.set_result(None)
