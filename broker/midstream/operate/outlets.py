"""Who is told of ends, what waits for them, and what was abandoned (PROTOCOL: Ends/Seen)."""

from typing import Final

from midstream.journal.audit import DONE
from midstream.log.entries import Json
from midstream.log.keys import id_of, tenant_of
from midstream.log.outbox import Outlet
from midstream.operate.operator import Operator

MOST_AT_ONCE: Final = 500
"""Ends that are sent again by one script."""


class OutletAbsent(Exception):
    """No process has named such an outlet."""


async def outlets(operator: Operator) -> Json:
    """Return all outlets with what waits for them. Raises `LogUnavailable`, as every function of this room."""
    rows, now_ms = await _rows(operator, await operator.resources.webhooks.outbox.outlets())
    return {"data": rows, "now_ms": now_ms}


async def outlet(operator: Operator, name: str) -> Json:
    """Return an outlet, with the streams whose ends it did not take and that were abandoned, newest first.

    Raises:
        OutletAbsent: There is none of that name.
    """
    (row,), now_ms = await _rows(operator, [await _find(operator, name)])
    limit = operator.settings.page_limit
    ends = await operator.resources.webhooks.outbox.abandoned(name, limit)
    streams = [
        {"tenant": tenant_of(each), "id": id_of(each), "abandoned_ms": ms}
        for each, ms in ends.items()
        if operator.reaches(each)
    ]
    return {**row, "abandoned_streams": streams, "now_ms": now_ms}


async def send_again(operator: Operator, name: str) -> int:
    """Have all ends of an outlet that were abandoned delivered once more; return how many there were.

    Raises:
        OutletAbsent: There is none of that name.
    """
    await _find(operator, name)
    outbox = operator.resources.webhooks.outbox
    names = [each for each in await outbox.abandoned(name) if operator.reaches(each)]
    number = 0
    for first in range(0, len(names), MOST_AT_ONCE):
        number += await outbox.send_again(name, names[first : first + MOST_AT_ONCE])
    await operator.note("send_again", DONE, outlet=name, count=number)
    return number


async def _find(operator: Operator, name: str) -> Outlet:
    for each in await operator.resources.webhooks.outbox.outlets():
        if each.name == name:
            return each
    raise OutletAbsent(name)


async def _rows(operator: Operator, named: list[Outlet]) -> tuple[list[Json], int]:
    webhooks = operator.resources.webhooks
    now_ms, boxes = await webhooks.outbox.look([each.name for each in named])
    rows: list[Json] = [
        {
            "name": each.name,
            "tenant": each.tenant,
            "host": webhooks.host_of(each.name),
            "waiting": boxes[each.name].waiting,
            "oldest_ms": boxes[each.name].oldest_ms,
            "abandoned": boxes[each.name].abandoned,
            "lost": boxes[each.name].lost,
        }
        for each in named
    ]
    return rows, now_ms
