"""What follows the creation of a stream: its slip, and its rows in the lists of its tenant and its user."""

import asyncio
import logging
from dataclasses import replace

from midstream.access.grant import Grant
from midstream.log.errors import LogUnavailable
from midstream.log.keys import stream_name
from midstream.log.state import EXTERNAL
from midstream.log.values import NewStream
from midstream.service.resources import Resources

logger = logging.getLogger(__name__)


def with_slip(resources: Resources, name: str, new: NewStream) -> NewStream:
    """Return what a stream is created with, and the slip that is written with it, if it is to have one there."""
    return new if new.policy == EXTERNAL else replace(new, slip=resources.slips.of_new(name))


async def register(resources: Resources, grant: Grant, stream_id: str, created_ms: int, new: NewStream) -> None:
    """List a new stream for its tenant and its user; write its slip, if its creation wrote none and it needs one."""
    # It may run for longer than it is kept.
    keep_s = max(*new.outcome_ttls_s.values(), resources.settings.retention_s)
    name = stream_name(grant.tenant, stream_id)
    slips = [] if new.slip.job_id or new.policy == EXTERNAL else [resources.slips.write(name, 0, new=True)]
    try:
        lists = {grant.tenant, grant.owner}
        await asyncio.gather(*slips, *(resources.registry.add(each, stream_id, created_ms, keep_s) for each in lists))
    except LogUnavailable:
        # The stream exists, so the start has succeeded: the reaper writes the slip.
        extra = {"stream": stream_id}
        logger.warning("stream %s was created but its slip was not written yet", stream_id, extra=extra)
