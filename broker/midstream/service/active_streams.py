"""One active stream of a thread at a time, where a start asks for that (PROTOCOL: Threads/Active)."""

from typing import Final

from midstream.access.grant import Grant, Scope
from midstream.journal import audit
from midstream.journal.audit import Asker
from midstream.log.errors import LogUnavailable, StreamAbsent, ThreadActive
from midstream.log.keys import stream_name
from midstream.log.state import State
from midstream.log.values import NewStream
from midstream.requests.request import GenerationRequest
from midstream.service import stopping
from midstream.service.resources import Resources

WAITING: Final = ("queue", "cancel")
"""What a start waits with for the streams before it in its thread."""
LOOKED_AT: Final = 256
"""The last streams of a thread that are looked at, as `log/lua/shared/active.lua` has it."""


def require_scope(grant: Grant, if_active: str | None) -> None:
    """Refuse unless a credential may do what a start asks for.

    Raises:
        InsufficientScopeError: It may not read what it would join, or not stop what it would cancel.
    """
    if if_active in ("join", "cancel"):
        grant.require(Scope.READ if if_active == "join" else Scope.STOP)


async def require_none_active(resources: Resources, grant: Grant, request: GenerationRequest) -> None:
    """Look before a start is counted by any limit; the script that creates the stream decides.

    Raises:
        ThreadActive: A stream of the thread has not ended, and the start would join it or be rejected.
        LogUnavailable: Redis did not answer.
    """
    if request.if_active not in ("join", "reject"):
        return
    rows = await resources.threads.last(grant.owner, request.thread or "", None, LOOKED_AT)
    names = [stream_name(grant.tenant, row.stream_id) for row in rows]
    statuses = await resources.log.many.statuses(names) if names else []
    active = [row.stream_id for row, status in zip(rows, statuses, strict=True) if status in ("queued", "running")]
    if active:
        raise ThreadActive(active[-1])


async def begin_or_wait(resources: Resources, grant: Grant, asker: Asker, name: str, new: NewStream) -> bool:
    """Return whether a stream that was just created may be run at once; what it is to `cancel` is cancelled first.

    A reaper lets it start otherwise, and goes on here if this process dies.
    """
    state = new.as_state(0)
    try:
        before = await _before(resources, name, state)
        if before and new.if_active == "cancel":
            for each in before:
                await _cancel(resources, grant, asker, each)
            before = await _before(resources, name, state)
    except LogUnavailable:
        return False
    return not before


async def _before(resources: Resources, name: str, state: State) -> list[str]:
    answer = (await resources.log.many.let_start({name: state}))[name]
    if isinstance(answer, LogUnavailable):
        raise answer
    return [] if isinstance(answer, Exception) else answer  # it has ended already, or was deleted


async def _cancel(resources: Resources, grant: Grant, asker: Asker, name: str) -> None:
    try:
        await stopping.cancel(resources, name)
    except StreamAbsent:
        return
    audit.done("stop", asker, **grant.names, stream=name)
