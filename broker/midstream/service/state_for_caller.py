"""The state of a stream for a caller, who may be answered by a broker that does not know its format."""

from midstream.access.grant import Grant
from midstream.log.errors import NewerFormat
from midstream.log.keys import stream_name
from midstream.log.log import Log
from midstream.log.state import State


async def state_for_caller(log: Log, grant: Grant, stream_id: str) -> State | None:
    """Return a stream's state; None where there is no such stream.

    Raises:
        NewerFormat: Only a newer version knows its format. What the grant does not open is absent (I7).
    """
    try:
        return await log.state(stream_name(grant.tenant, stream_id))
    except NewerFormat as stream:
        if grant.covers(stream.tenant, stream.user or None, stream_id, stream.thread or None):
            raise
        return None
