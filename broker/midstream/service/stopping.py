"""How streams are cancelled and deleted, for callers and operators (PROTOCOL: Cancel/Effect, Delete/Everything)."""

import contextlib
import time

from midstream import counters
from midstream.access.grant import owner_of
from midstream.lifecycle.ending import end_entry
from midstream.lifecycle.spending import NOTHING_SPENT, spendings
from midstream.log.entries import CANCELLED, encode
from midstream.log.errors import LogUnavailable, StreamAbsent, StreamSealed
from midstream.log.keys import id_of, tenant_of
from midstream.log.state import State
from midstream.log.values import Ending
from midstream.money.prices import Cost
from midstream.service.resources import Resources


async def present(resources: Resources, name: str) -> State:
    """Return the state of the stream with this name.

    Raises:
        StreamAbsent: The stream was deleted, has expired, or never was.
        LogUnavailable: Redis did not answer; so for the other functions here.
    """
    state = await resources.log.state(name)
    if state is None or state.tenant != tenant_of(name):
        raise StreamAbsent(id_of(name))
    return state


async def cancel(resources: Resources, name: str) -> State:
    """Ask for a stop and return the state after that; a stream that has ended stays as it is. Raises as `present`."""
    state = await present(resources, name)  # the end's timings are made of it
    cost = await cost_so_far(resources, name, state) if state.status == "queued" else None
    end = end_entry(CANCELLED, state=state, now_ms=time.time_ns() // 1_000_000, cost=cost)
    with contextlib.suppress(StreamSealed):
        if await resources.log.cancel(name, Ending([encode(end)], CANCELLED)):
            counters.count("ends", CANCELLED, "")
            resources.tracing.ended(name, state, CANCELLED)
            with contextlib.suppress(LogUnavailable):  # the stream has ended; a slip that is left is taken for nothing
                await resources.slips.drop(name, state.epoch)
    return await present(resources, name)


async def cost_so_far(resources: Resources, name: str, state: State) -> Cost | None:
    """Return what the stream's calls have cost as far as the log tells; None: it does not. Raises as `present`."""
    prices = resources.settings.prices
    spent = await spendings(resources.log, {name: state}, prices)
    return spent.get(name, NOTHING_SPENT).cost(state.model, prices)


async def delete(resources: Resources, name: str) -> None:
    """Forget the stream and what leads to it. One that still runs is cancelled first: nobody could see its cost.

    Raises as `present`.
    """
    state = await cancel(resources, name)
    await resources.slips.drop(name, state.epoch)
    await resources.log.delete(name, resources.settings.tombstone_s)
    for owner in {state.tenant, owner_of(state.tenant, state.user)}:
        await resources.registry.drop(owner, [id_of(name)])
