"""What an app is told of the stream that it answers, and what it may do beside yielding (PROTOCOL: App/Context)."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from midstream.attempts.steps import Steps, Unknown, once_in_thread

Result = TypeVar("Result")


class UnfitStateError(Exception):
    """What an app wants to save cannot be saved; the message says why."""


@dataclass(slots=True, kw_only=True)
class AppContext:
    """The context of one attempt of an app.

    Attributes:
        stream_id: The stream, as clients know it.
        tenant: Whose it is.
        user: The user of the tenant whose it is; None: none is named.
        thread: The conversation that it belongs to; None: none.
        metadata: The client's own texts.
        idempotency_key: What the start named itself by; None: nothing.
        attempt: The number of the attempt, from 1.
        state: What the app has saved last in this thread; None: nothing, or it has expired.
        objects: What the app's `lifespan` has yielded when the worker started; None: it has none.
        logger: Writes to the worker's log, with the stream's name.
        steps: The steps of this attempt.
        keep: Keeps what the app saves, and returns it as JSON gives it back.
        is_stopped: Tells whether the attempt is stopped.
    """

    stream_id: str
    tenant: str
    user: str | None
    thread: str | None
    metadata: Mapping[str, str]
    idempotency_key: str | None
    attempt: int
    state: Any = None
    objects: Any = None
    logger: "logging.LoggerAdapter[logging.Logger]"
    steps: Steps
    keep: Callable[[Any], Awaitable[Any]]
    is_stopped: Callable[[], bool]

    @property
    def cancelled(self) -> bool:
        """Whether nothing more of this attempt is wanted: a client has cancelled the stream, or it is lost."""
        return self.is_stopped()

    async def once(self, name: str, arguments: Any, call: Callable[[], Any], *, unknown: Unknown = "ask") -> Any:
        """Do a step once and return its result; arguments and errors are those of `Steps.once`."""
        return await self.steps.once(name, arguments, call, unknown=unknown)

    async def save(self, state: Any) -> None:
        """Keep something for the next stream of this thread, in place of what was saved before; None forgets it.

        Raises:
            UnfitStateError: It is no JSON, or too large, or the stream belongs to no thread.
            StaleEpoch, StreamSealed, StreamAbsent: The stream is no longer this attempt's, and nothing was saved.
        """
        self.state = await self.keep(state)


class BlockingAppContext:
    """The context of an app that runs in a thread of its own: the same as `AppContext`, without `await`."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self._loop = asyncio.get_running_loop()

    def __getattr__(self, name: str) -> Any:
        """Return a fact of the context."""
        return getattr(self._context, name)

    def once(self, name: str, arguments: Any, call: Callable[[], Result], *, unknown: Unknown = "ask") -> Result:
        """Do a step once, in this thread, and return its result; arguments and errors are those of `Steps.once`."""
        result: Result = once_in_thread(self._context.steps, self._run, name, arguments, call, unknown)
        return result

    def save(self, state: Any) -> None:
        """Keep something for the next stream of this thread; errors are those of `AppContext.save`."""
        self._run(self._context.save(state))

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
