"""What an app's function takes and how it runs, looked up once when the worker starts (PROTOCOL: App/Signature)."""

import functools
import inspect
from dataclasses import dataclass
from typing import Any, Final

from midstream_worker.sources.app_import import AppFunction, AppImportError

CONTEXT: Final = "context"
OUT: Final = "out"
ALWAYS: Final = 2
"""Parameters that every app takes, whatever their names: the messages and the params of the request."""


class AppSignatureError(AppImportError):
    """No app can be called as this function is; the message says why."""


@dataclass(frozen=True, slots=True)
class AppSignature:
    """How an app is called.

    Attributes:
        takes_context: It has a parameter `context`.
        takes_out: It has a parameter `out`, and so it is a coroutine function.
        blocks: It is a plain generator function, which runs in a thread.
    """

    takes_context: bool
    takes_out: bool
    blocks: bool


def signature_of(function: AppFunction) -> AppSignature:
    """Return how an app is called.

    Raises:
        AppSignatureError: No app can be called so.
    """
    try:
        parameters = [*inspect.signature(function).parameters.values()]
    except (TypeError, ValueError):  # of a few functions in C nothing is known
        return AppSignature(takes_context=False, takes_out=False, blocks=False)
    first, others = parameters[:ALWAYS], parameters[ALWAYS:]
    is_variadic = any(each.kind is each.VAR_POSITIONAL for each in first)
    if not is_variadic and (len(first) < ALWAYS or any(each.kind is each.KEYWORD_ONLY for each in first)):
        raise AppSignatureError("it takes too little: an app takes (messages, params), then `context` or `out`")
    odd = [each.name for each in others if each.name not in (CONTEXT, OUT) and _is_needed(each)]
    if odd:
        raise AppSignatureError(
            f"nothing fills its parameter `{odd[0]}`: an app takes (messages, params, context, out)"
        )
    names = {each.name for each in others if each.kind is not each.POSITIONAL_ONLY}
    called = _called(function)
    if OUT in names and not inspect.iscoroutinefunction(called):
        raise AppSignatureError("it takes `out`, so it has to be an `async def` that yields nothing")
    return AppSignature(CONTEXT in names, OUT in names, inspect.isgeneratorfunction(called))


def _is_needed(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty and parameter.kind not in (
        parameter.VAR_POSITIONAL,
        parameter.VAR_KEYWORD,
    )


def _called(function: Any) -> Any:
    """Return the function that runs: of an object that can be called, its method."""
    while isinstance(function, functools.partial):
        function = function.func
    return function if inspect.isroutine(function) else type(function).__call__
