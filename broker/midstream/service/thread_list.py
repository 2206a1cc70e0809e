"""A page of a caller's threads (PROTOCOL: Threads/List)."""

from typing import Final

from midstream.access.grant import Grant
from midstream.log.entries import Json
from midstream.log.registry import Listed
from midstream.log.threads import ThreadRow, Threads

LOOKS: Final = 4
"""How often the last stream of a thread is looked for, where the last one so far turns out to have expired."""


async def thread_page(
    threads: Threads, grant: Grant, limit: int, before: Listed | None
) -> tuple[list[Json], Listed | None]:
    """Return up to `limit` rows, and the row after which the next page begins; None: there is none.

    Raises:
        LogUnavailable: Redis did not answer.
    """
    listed = await threads.listed(grant.owner, before, limit)
    last = listed[-1] if len(listed) == limit else None
    rows: dict[str, ThreadRow] = {}
    left = listed
    for _ in range(LOOKS):
        looked_up = {row.thread: row for row in await threads.rows(grant.tenant, grant.owner, left)}
        rows |= looked_up
        left = [each for each in left if each.stream_id in looked_up and not looked_up[each.stream_id].status]
        if not left:
            break
        for each in left:
            await threads.drop(grant.owner, each.stream_id, [looked_up[each.stream_id].last_id])
    there = (row for each in listed if (row := rows.get(each.stream_id)) is not None and row.status)
    return [_as_json(row) for row in there], last


def _as_json(row: ThreadRow) -> Json:
    return {
        "id": row.thread,
        "title": row.title or None,
        "streams": row.streams,
        "last_stream": row.last_id,
        "status": row.status,
        "outcome": row.outcome or None,
        "model": row.model,
        "active_ms": row.active_ms,
    }
