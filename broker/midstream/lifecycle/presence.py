"""How a worker or a broker shows operators that it lives, and what it does (PROTOCOL: Operate/Roll)."""

import asyncio
import logging
import os
import platform
import re
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version
from typing import Any, Final

from midstream.lifecycle.loop_lag import LoopLag
from midstream.lifecycle.minute_counts import MinuteCounts
from midstream.lifecycle.shared_turns import until_turn_s
from midstream.log.errors import LogUnavailable
from midstream.log.forever import forever
from midstream.log.roll import Kind, Roll

logger = logging.getLogger(__name__)

VERSION: Final = version("midstream")
SIGN_S: Final = 2.0
"""The time between two signs of a process."""
HOST_CHARS: Final = 32
LEAVE_S: Final = 0.25
"""How long a process that stops waits for Redis to take it off the roll; if it does not, the TTL does."""


def new_process_name() -> str:
    """Return a name for this process, `<host>:<pid>:<random>`, which its leases hold too, so that it fits a state."""
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:HOST_CHARS] or "unknown"
    return f"{host}:{os.getpid()}:{secrets.token_hex(2)}"


class Presence:
    """Signs the roll every `SIGN_S` until `stop`, and hands on what the process has counted meanwhile.

    Args:
        roll: The roll to sign.
        kind: What the process is.
        name: Its name.
        read: Returns what it says of itself.
        drain: Called where an operator wants the process to end as on SIGTERM.
        between: Called after each sign with the server's time in ms; a failure of Redis in it is logged.
    """

    def __init__(
        self,
        roll: Roll,
        kind: Kind,
        name: str,
        read: Callable[[], Mapping[str, Any]],
        drain: Callable[[], None],
        between: Callable[[int], Awaitable[None]] | None = None,
    ) -> None:
        self._roll = roll
        self._kind: Kind = kind
        self._name = name
        self._read = read
        self._drain = drain
        self._is_asked_to_drain = False
        self._between = between
        self._counts = MinuteCounts()
        self._lasting = {  # read once: the version is in a file
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": VERSION,
            "python": platform.python_version(),
            "started_ms": time.time_ns() // 1_000_000,
        }
        self._lag = LoopLag()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Sign from now on."""
        self._counts.begin()
        self._lag.start()
        self._task = asyncio.create_task(forever("presence", self._run), name="presence")

    async def stop(self) -> None:
        """Leave the roll."""
        if self._task is None:
            return
        self._lag.stop()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        try:
            async with asyncio.timeout(LEAVE_S):
                await self._sign()
                await self._roll.leave(self._kind, self._name)
        except (LogUnavailable, TimeoutError) as error:
            logger.debug("this process leaves the roll by its TTL: %s", error)
        finally:
            self._counts.end()

    async def _run(self) -> None:
        while True:
            try:
                now_ms = await self._sign()
                if self._between is not None:
                    await self._between(now_ms)
            except LogUnavailable as error:
                logger.debug("the roll could not be signed: %s", error)
            await asyncio.sleep(until_turn_s(SIGN_S))

    async def _sign(self) -> int:
        counts = self._counts.take()
        facts = {
            **self._lasting,
            "clock_ms": time.time_ns() // 1_000_000,
            "loop_lag_ms": round(self._lag.take_worst_s() * 1000, 1),
            **self._read(),
        }
        try:
            now_ms, is_to_drain = await self._roll.sign(self._kind, self._name, facts, counts)
        except LogUnavailable:
            self._counts.give_back(counts)
            raise
        if is_to_drain and not self._is_asked_to_drain:
            self._is_asked_to_drain = True
            logger.warning("an operator drains this %s", self._kind)
            self._drain()
        return now_ms
