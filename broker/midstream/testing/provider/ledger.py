"""The provider's books: every call that starts a generation, whether it is billed, and how it ended."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal

from midstream.testing.provider.script import Script, directive

Connection = Literal["open", "completed", "cut", "client_closed"]


def now_ms() -> float:
    """Return the time, in milliseconds since 1970."""
    return time.time() * 1_000


def is_billed(status: int) -> bool:
    """Tell whether a call answered by this status costs money: what a 500 has cost, nobody knows."""
    rejected = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    return not rejected and status not in (HTTPStatus.SERVICE_UNAVAILABLE, 529)


@dataclass
class Call:
    """One request that starts, or reads again, a generation."""

    number: int
    api: str
    body: dict[str, Any]
    status: int
    billed: bool
    at_ms: float = field(default_factory=now_ms)
    upstream_id: str | None = None
    betas: str | None = None
    steps_sent: int = 0
    connection: Connection = "open"
    ended_at_ms: float | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self, how: Connection) -> None:
        """Note how its connection has ended."""
        self.connection = how
        self.ended_at_ms = now_ms()
        self.ended.set()

    def as_json(self) -> dict[str, Any]:
        """Return all that there is to know of it."""
        return {name: value for name, value in vars(self).items() if name != "ended"}


class Ledger:
    """All calls since the last reset.

    Attributes:
        calls: The calls, in order.
        script: What is done with a prompt that holds no script.
    """

    def __init__(self) -> None:
        self.script = Script()
        self.calls: list[Call] = []
        self._failures: Counter[str] = Counter()
        self._news = asyncio.Event()

    async def call(self, number: int) -> Call:
        """Return a call as soon as it has come in."""
        while number >= len(self.calls):
            await self._news.wait()
        return self.calls[number]

    def enter(self, api: str, body: dict[str, Any], status: int = 200, *, billed: bool | None = None) -> Call:
        """Note a call, and return it."""
        call = Call(len(self.calls), api, body, status, is_billed(status) if billed is None else billed)
        self.calls.append(call)
        news, self._news = self._news, asyncio.Event()
        news.set()
        return call

    def take_failure(self, script: Script) -> str | None:
        """Return how this request is to fail, if it is, and count it."""
        if script.fail is None:
            return None
        key = directive(script)
        self._failures[key] += 1
        if script.fail_times is not None and self._failures[key] > script.fail_times:
            return None
        return script.fail

    def reset(self) -> None:
        """Forget all calls and the script."""
        self.script = Script()
        self.calls.clear()
        self._failures.clear()
