"""The user's own source: an async generator function named in the settings."""

import importlib
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from midstream_worker.sources.deltas import Delta, Finish, SourceError, Text
from midstream_worker.sources.one_connection import OneConnection
from midstream_worker.sources.source import Prompt
from midstream_worker.sources.surrogates import SurrogateJoiner

log = logging.getLogger(__name__)

AppGenerator = Callable[[list[dict[str, Any]], dict[str, Any]], Any]


class App(OneConnection):
    """Yields what the user's async generator `(messages, params)` yields: strings or deltas.

    A generator that ends without a `Finish` of its own has finished with reason `stop`. It may call a paid model,
    so it counts as paid.

    Args:
        name: The app's name in the settings.
        path: `module:function`.

    Raises:
        SourceError: `source_error`: there is no such function.
    """

    paid = True

    def __init__(self, name: str, path: str) -> None:
        self._name = name
        self._generate = _load(name, path)

    async def open(self, prompt: Prompt) -> AsyncGenerator[Delta]:
        """Run the user's generator and yield its deltas; closing this iterator closes it."""
        joiner = SurrogateJoiner()
        finished = False
        try:
            async with aclosing(self._generate(prompt.messages, prompt.params)) as produced:
                async for item in produced:
                    if isinstance(item, str | Text):
                        if piece := joiner.push(item if isinstance(item, str) else item.text):
                            yield Text(piece)
                        continue
                    if not isinstance(item, Delta):
                        raise TypeError(f"it yielded {type(item).__name__}, which is neither a string nor a delta")
                    if rest := joiner.flush():
                        yield Text(rest)
                    finished = finished or isinstance(item, Finish)
                    yield item
        except SourceError:
            raise
        except Exception as error:
            # Its text may hold anything, and the client sees our message: the details are for the log.
            log.exception("app %s failed", self._name)
            raise SourceError("source_error", f"The app {self._name} raised {type(error).__name__}.") from error
        if rest := joiner.flush():
            yield Text(rest)
        if not finished:
            yield Finish("stop")

    async def aclose(self) -> None:
        """Do nothing: the app's connections are its own."""


def _load(name: str, path: str) -> AppGenerator:
    module, _, function = path.partition(":")
    try:
        generate: AppGenerator = getattr(importlib.import_module(module), function)
    except Exception as error:  # importing runs the user's code
        log.exception("app %s could not be imported", name)
        raise SourceError("source_error", f"The app {name} could not be imported.") from error
    return generate
