"""What an operator finds: streams of all tenants, by what is true of them (PROTOCOL: Operate/Find)."""

from collections.abc import AsyncIterator, Iterable

from midstream.finder.where import Where
from midstream.log.entries import Json
from midstream.log.registry import Listed
from midstream.operate.operator import Operator


class Search:
    """One search of an operator's, which can be asked for pages, for a count and for everything.

    Each question raises `LogUnavailable` when Redis does not answer.

    Args:
        operator: Who searches.
        conditions: Names and values of conditions; see `Where.parse`. None at all fit every stream.

    Raises:
        WhereError: There is no condition of a name, or a value does not fit.
    """

    __slots__ = ("_finder", "_where")

    def __init__(self, operator: Operator, conditions: Iterable[tuple[str, str]]) -> None:
        self._finder = operator.resources.finder
        self._where = Where.parse(conditions).within(operator.only_tenant)

    async def page(self, limit: int, before: Listed | None) -> tuple[list[Json], Listed | None]:
        """Return up to `limit` streams, newest first, and the one after which the next page begins, if any."""
        return await self._finder.page(self._where, limit, before)

    async def count(self) -> int:
        """Return how many streams fit."""
        return await self._finder.count(self._where)

    def matching(self) -> AsyncIterator[Json]:
        """Return an iterator over all streams that fit, newest first, each with its `tenant` and `id`.

        A stream that begins meanwhile is left out. One that no longer fits when its page is read is left out too, and
        its facts may change again before the caller comes to it.
        """
        return self._finder.matching(self._where)
