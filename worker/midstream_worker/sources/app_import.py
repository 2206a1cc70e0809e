"""Finds the function of the user's own source, by the `module:function` of the settings."""

import importlib
from collections.abc import Callable
from typing import Any

AppFunction = Callable[..., Any]


class AppImportError(Exception):
    """There is no such function, or its module could not be imported; the message says why."""


def import_app(path: str) -> AppFunction:
    """Import and return the function.

    Raises:
        AppImportError: There is no such function, or importing it failed. The user's code may raise anything.
    """
    module, _, name = path.partition(":")
    try:
        function: AppFunction = getattr(importlib.import_module(module), name)
    except (Exception, SystemExit) as error:
        raise AppImportError(f"{type(error).__name__}: {error}") from error
    if not callable(function):
        raise AppImportError(f"{name} is no function")
    return function
