"""Erases all streams of a user (PROTOCOL: Delete/User)."""

import asyncio
from datetime import UTC, datetime
from typing import Final

from midstream.access.grant import Grant, Scope
from midstream.log.errors import StreamAbsent
from midstream.log.keys import stream_name
from midstream.service.caller_streams import CallerStreams
from midstream.service.resources import Resources

PAGE: Final = 100
AT_ONCE: Final = 4
"""Streams that are deleted side by side, so that other requests find connections to Redis."""


async def erase_user(resources: Resources, grant: Grant, streams: CallerStreams, user: str) -> int:
    """Delete all of a user's streams that are listed now, and return how many; running ones are cancelled first.

    Raises:
        InsufficientScopeError: The credential stops nothing, or does not open all of the tenant's streams.
        LogUnavailable: Redis did not answer. What is deleted by then stays deleted, and the call can be made again.
    """
    grant.require(Scope.STOP)
    grant.require_whole_tenant(Scope.STOP)
    owner = grant.acting_for(user).owner
    room = asyncio.Semaphore(AT_ONCE)

    async def erase(stream_id: str) -> bool:
        async with room:
            try:
                await (await streams.find(stream_id, Scope.STOP)).delete()
            except StreamAbsent:  # it has expired, or another request has deleted it
                await resources.webhooks.outbox.withhold(stream_name(grant.tenant, stream_id))
                return False
            return True

    erased, before = 0, None
    while rows := await resources.registry.listed(owner, before, PAGE):
        before = rows[-1]
        stream_ids = [row.stream_id for row in rows]
        erased += sum(await asyncio.gather(*map(erase, stream_ids)))
        for list_of in (grant.tenant, owner):
            await resources.registry.drop(list_of, stream_ids)
    await resources.saved.forget(grant.tenant, user)
    if currency := resources.settings.prices.currency:
        await resources.operations.costs.forget_user(grant.tenant, user, currency, datetime.now(UTC).date())
    return erased
