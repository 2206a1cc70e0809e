"""Lets streams start that wait for others of their thread to end (PROTOCOL: Threads/Active)."""

import contextlib
import logging
import time
from collections.abc import Mapping, Sequence

from midstream.lifecycle.ending import end_entry
from midstream.lifecycle.spending import NOTHING_SPENT, spendings
from midstream.log.entries import CANCELLED, encode
from midstream.log.errors import LogError, NewerFormat, StreamAbsent, StreamSealed
from midstream.log.log import Log
from midstream.log.state import State
from midstream.log.values import Ending
from midstream.money.prices import Prices

logger = logging.getLogger(__name__)


async def let_start(log: Log, waiting: Mapping[str, State], prices: Prices) -> tuple[list[str], list[str]]:
    """Return the streams that may run now, and those that wait on; what stands before one may have to be cancelled.

    Raises:
        LogUnavailable: Redis did not answer.
    """
    may_run: list[str] = []
    waits_on: list[str] = []
    for name, before in (await log.many.let_start(waiting)).items():
        if isinstance(before, LogError):
            logger.debug("reaper: %s waits in its thread: %s", name, before, extra={"stream": name})
        elif not before:
            may_run.append(name)
        else:
            waits_on.append(name)
            if waiting[name].waits == "cancel":
                await _cancel(log, before, prices)
    return may_run, waits_on


async def _cancel(log: Log, names: Sequence[str], prices: Prices) -> None:
    """Ask for the stop of streams once more: the process that was asked to cancel them may have died.

    One that cannot be read is left to a process that can, so that it keeps no stream of other threads waiting.
    """
    for name, state in zip(names, await log.many.states(names), strict=True):
        if not isinstance(state, State) or state.ended:
            continue
        spent = await spendings(log, {name: state}, prices)
        cost = spent.get(name, NOTHING_SPENT).cost(state.model, prices)
        end = end_entry(CANCELLED, state=state, now_ms=time.time_ns() // 1_000_000, cost=cost)
        with contextlib.suppress(StreamSealed, StreamAbsent, NewerFormat):
            await log.cancel(name, Ending([encode(end)], CANCELLED))
