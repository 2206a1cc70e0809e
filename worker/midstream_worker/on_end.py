"""Calls a function of the operator's with each stream that has ended (PROTOCOL: Ends/Hook)."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Final

from redis.asyncio import Redis

from midstream.ends.deliverer import Deliverer
from midstream.ends.ended_stream import EndedStream, ended_stream, whole_answer
from midstream.log.log import Log
from midstream.log.outbox import EVERYBODY, Outbox, Outlet, Taken
from midstream.settings import Settings
from midstream_worker.sources.app_import import AppImportError, import_app

KIND: Final = "hook"
Hook = Callable[[EndedStream], Awaitable[None]]


class OnEndError(Exception):
    """The function cannot be used; the message names the variable and says why."""


class OnEnd:
    """The hook of one worker process; without the setting there is none.

    Raises:
        OnEndError: There is no such function, or it is not async.
    """

    def __init__(self, redis: Redis, log: Log, settings: Settings) -> None:
        self._log = log
        self._hook = _hook(settings.on_end) if settings.on_end else None
        self._outlets = [Outlet(KIND, EVERYBODY)] if self._hook else []
        self._deliverer = Deliverer(
            Outbox(redis, settings.key_prefix, settings.ends_keep_ms, settings.outbox_ends),
            settings,
            KIND,
            lambda: self._outlets,
            self._call,
            settings.on_end_timeout_s,
        )

    async def start(self) -> None:
        """Have ends noted and the function called from now on; raises as `Deliverer.start`."""
        await self._deliverer.start()

    async def stop(self) -> None:
        """Call the function no more."""
        await self._deliverer.stop()

    def readings(self) -> dict[tuple[str, ...], float]:
        """Return what waits, as `Deliverer.readings`."""
        return self._deliverer.readings() if self._hook else {}

    async def _call(self, taken: Taken) -> None:
        assert self._hook is not None  # noqa: S101 - without it there is no outlet
        answer = await whole_answer(self._log, taken.stream_id)
        await self._hook(ended_stream(taken.stream_id, taken.facts, answer))


def _hook(path: str) -> Hook:
    try:
        function: Any = import_app(path)
    except AppImportError as error:
        raise OnEndError(f"MIDSTREAM_ON_END: {path}: {error}") from None
    if not inspect.iscoroutinefunction(function):
        raise OnEndError(f"MIDSTREAM_ON_END: {path} is not an `async def` function")
    hook: Hook = function
    return hook
