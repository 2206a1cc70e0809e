"""The creation of a stream, and what follows it: its slip, and its rows in the lists of its tenant and its user."""

import asyncio
import logging
from dataclasses import replace

from midstream.access.allowance import Allowances
from midstream.access.grant import Grant
from midstream.journal import audit
from midstream.journal.audit import Asker
from midstream.log.entries import Json
from midstream.log.errors import LogUnavailable
from midstream.log.keys import stream_name
from midstream.log.state import EXTERNAL, State
from midstream.log.values import NewStream
from midstream.service.active_streams import WAITING, begin_or_wait
from midstream.service.resources import Resources
from midstream.service.start_counts import count_start

logger = logging.getLogger(__name__)


def _with_slip(resources: Resources, name: str, new: NewStream) -> NewStream:
    """Return `new` with its slip filled in, unless it needs none or may have to wait for others of its thread."""
    if new.policy == EXTERNAL or new.if_active in WAITING:
        return new
    return replace(new, slip=resources.slips.of_new(name))


async def created(
    resources: Resources, grant: Grant, asker: Asker, stream_id: str, new: NewStream, allowances: Allowances
) -> tuple[State | None, list[Json]]:
    """Create a stream if its start gets in, and have it run or wait; return its state, and warnings.

    The state is None if the same start created it before. Raises as `Admission.create`.
    """
    name = stream_name(grant.tenant, stream_id)
    new = _with_slip(resources, name, new)
    created_ms, warnings = await resources.admission.create(name, grant, allowances, new)
    if created_ms is None:
        return None, warnings
    count_start(new.model, is_new=True)
    may_run = new.if_active not in WAITING or await begin_or_wait(resources, grant, asker, name, new)
    await _register(resources, grant, stream_id, created_ms, new, may_run=may_run)
    audit.done("start", asker, **grant.names, stream=stream_id)
    return new.as_state(created_ms), warnings


async def _register(
    resources: Resources, grant: Grant, stream_id: str, created_ms: int, new: NewStream, *, may_run: bool = True
) -> None:
    """List a new stream for its tenant and its user; write its slip, if it may run, needs one and has none yet."""
    # It may run for longer than it is kept.
    keep_s = max(*new.outcome_ttls_s.values(), resources.settings.retention_s)
    name = stream_name(grant.tenant, stream_id)
    needs_slip = not new.slip.job_id and new.policy != EXTERNAL and may_run
    slips = [resources.slips.write(name, 0, new=True)] if needs_slip else []
    try:
        lists = {grant.tenant, grant.owner}
        await asyncio.gather(*slips, *(resources.registry.add(each, stream_id, created_ms, keep_s) for each in lists))
    except LogUnavailable:
        # The stream exists, so the start has succeeded: the reaper writes the slip.
        extra = {"stream": stream_id}
        logger.warning("stream %s was created but its slip was not written yet", stream_id, extra=extra)
