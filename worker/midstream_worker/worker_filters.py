"""The filters of the settings, found when a worker starts (PROTOCOL: Filter/Start)."""

import inspect
from collections.abc import Iterator
from typing import Final

from midstream.filters.filter import Filter, NamedFilter
from midstream.settings import Settings
from midstream_worker.sources.app_import import AppImportError, import_app

REDACTION: Final = "redaction"
"""The name of the filter that `MIDSTREAM_REDACT` makes."""


class FilterError(Exception):
    """A filter cannot be used; the message names the variable and says why."""


def filters_of(settings: Settings) -> tuple[NamedFilter, ...]:
    """Return the filters in their order.

    Raises:
        FilterError: One cannot be imported or called, or an expression is none.
    """
    return tuple(_filters_of(settings))


def _filters_of(settings: Settings) -> Iterator[NamedFilter]:
    for name, path in settings.filter_paths.items():
        try:
            call: Filter = import_app(path)
            inspect.signature(call).bind(None, None)
        except (AppImportError, TypeError, ValueError) as error:
            raise FilterError(f"MIDSTREAM_FILTERS: {name}={path} cannot be used: {error}") from None
        yield NamedFilter(name, call)
    if settings.redact:
        from midstream.filters.redaction import redact  # noqa: PLC0415 - its library is for those who redact

        try:
            yield NamedFilter(REDACTION, redact(settings.redact))
        except ValueError as error:
            raise FilterError(f"MIDSTREAM_REDACT: {error}") from None
