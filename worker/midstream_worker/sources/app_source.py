"""The user's own source: a generator function named in the settings."""

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterator
from contextlib import aclosing
from typing import Any

from midstream.attempts.app_context import AppContext, BlockingAppContext
from midstream.attempts.app_items import UnfitItemError, checked
from midstream.attempts.delta import Delta, Finish, SourceError, Text
from midstream.attempts.surrogates import SurrogateJoiner
from midstream_worker.sources.app_import import AppFunction
from midstream_worker.sources.app_out import AppOut
from midstream_worker.sources.app_signature import CONTEXT, signature_of
from midstream_worker.sources.blocking_iterator import in_a_thread
from midstream_worker.sources.one_connection import OneConnection
from midstream_worker.sources.source import Prompt

logger = logging.getLogger(__name__)


class App(OneConnection):
    """Yields what the user's generator `(messages, params)` yields: strings or deltas.

    An async generator runs on the worker's loop, any other one in a thread of its own. A coroutine function writes to
    its parameter `out` instead. An app that ends without a `Finish` of its own has finished with reason `stop`. It may
    call a paid model, so it counts as paid.

    Args:
        name: The app's name in the settings.
        generate: The user's function.
        objects: Returns what the app's lifespan has yielded.

    Raises:
        AppSignatureError: No app can be called so.
    """

    paid = True

    def __init__(self, name: str, generate: AppFunction, objects: Callable[[], Any] = lambda: None) -> None:
        self._name = name
        self._generate = generate
        self._objects = objects
        self._signature = signature_of(generate)
        self.replays = self._signature.takes_context

    async def open(self, prompt: Prompt) -> AsyncGenerator[Delta]:
        """Run the user's generator and yield its deltas; closing this iterator closes it."""
        joiner = SurrogateJoiner()
        finished = False
        context: AppContext | None = None
        try:
            if self._signature.takes_context and prompt.context is not None:
                context = await prompt.context(self._name, self._objects())
            async with aclosing(self._items(prompt, context)) as produced:
                async for item in produced:
                    _check_steps(context)
                    delta = checked(item)
                    if isinstance(delta, Text):
                        if piece := joiner.push(delta.text):
                            yield Text(piece)
                        continue
                    if rest := joiner.flush():
                        yield Text(rest)
                    finished = finished or isinstance(delta, Finish)
                    yield delta
            _check_steps(context)
        # An app that calls `sys.exit` ends only its own generation, not the worker.
        except (Exception, SystemExit, KeyboardInterrupt, asyncio.CancelledError) as error:  # noqa: BLE001
            raise self._failure(error, context) from None
        if rest := joiner.flush():
            yield Text(rest)
        if not finished:
            yield Finish("stop")

    async def aclose(self) -> None:
        """Do nothing: the app's connections are its own."""

    def _failure(self, error: BaseException, context: AppContext | None) -> BaseException:
        """Log a generator's error, and return what the client is to see of it."""
        task = asyncio.current_task()
        if context is not None and context.steps.failure is not None:
            return context.steps.failure
        if isinstance(error, SourceError):
            return error
        # A cancellation that is not ours comes from a task of the app's own that it has waited for.
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            return error
        if isinstance(error, UnfitItemError):
            logger.error("the app %s yielded %s", self._name, error)
            return SourceError("source_error", f"The app {self._name} yielded {error}.")
        # The client sees our message, and an app's error may contain anything: only the log has the details.
        logger.error("app %s failed", self._name, exc_info=error)
        return SourceError("source_error", f"The app {self._name} raised {type(error).__name__}.")

    def _items(self, prompt: Prompt, context: AppContext | None) -> AsyncGenerator[Any]:
        """Return an async generator of what the user's function yields."""
        signature, further, name = self._signature, dict[str, Any](), f"app {self._name}"
        if signature.takes_context:
            further[CONTEXT] = BlockingAppContext(context) if context is not None and signature.blocks else context
        if signature.takes_out:
            out = AppOut()
            return out.items(self._generate(prompt.messages, prompt.params, **further, out=out), name)
        produced = self._generate(prompt.messages, prompt.params, **further)
        if hasattr(produced, "__aiter__"):
            return produced if hasattr(produced, "aclose") else _each(produced)
        if isinstance(produced, Iterator):
            return in_a_thread(produced, name)
        if inspect.iscoroutine(produced):
            produced.close()
        kind = type(produced).__name__
        raise SourceError(
            "source_error", f"The app {self._name} returned a {kind}: it has to be a generator, or to take `out`."
        )


def _check_steps(context: AppContext | None) -> None:
    """Raise why the stream has to end, if an app goes on after a step that nobody knows the result of."""
    if context is not None and context.steps.failure is not None:
        raise context.steps.failure


async def _each(items: AsyncIterable[Any]) -> AsyncGenerator[Any]:
    """Yield the items of an async iterable that is no generator, so that it can be closed like one."""
    async for item in items:
        yield item
