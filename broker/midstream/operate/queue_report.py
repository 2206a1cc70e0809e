"""What waits for a worker, and what of it does not fit together (PROTOCOL: Operate/Queue)."""

from typing import Final

from midstream.log.entries import Json
from midstream.log.keys import id_of, tenant_of
from midstream.log.state import EXTERNAL
from midstream.operate.operator import Operator

LOOKED_AT: Final = 5_000
"""How many slips, and how many streams that have not ended, are compared with each other."""
NAMED: Final = 100
"""How many of each kind of misfit are named."""


async def queue(operator: Operator) -> Json:
    """Return the queue's depth and oldest slip, slips without a stream, and queued streams without a slip.

    A reaper drops a slip without a stream or writes a lost one anew within `requeue_ms`, so one that is seen in two
    readings in a row is a fault.
    """
    resources = operator.resources
    depth, oldest_age_s = await resources.slips.waiting()
    live, number_live = await resources.registry.live(LOOKED_AT)
    slips = await resources.slips.names(LOOKED_AT)  # after the streams, so that those that begin meanwhile have one
    names = list(dict.fromkeys([*slips, *live]))
    states = dict(zip(names, await resources.log.many.statuses(names), strict=True))
    astray = [name for name in slips if states[name] not in ("queued", "running")]
    queued = [name for name in live if states[name] == "queued"]
    without = await _awaited(operator, sorted(set(queued).difference(slips)))
    return {
        "depth": depth,
        "oldest_age_s": round(oldest_age_s, 3),
        "queued_streams": len(queued),
        "live_streams": number_live,
        "slips_without_stream": {"number": len(astray), "data": _named(operator, astray)},
        "streams_without_slip": {"number": len(without), "data": _named(operator, without)},
        "is_complete": depth <= LOOKED_AT and number_live <= LOOKED_AT,
    }


async def _awaited(operator: Operator, names: list[str]) -> list[str]:
    """Return those that a worker is to run: a program of its own claims its stream without a slip."""
    states = await operator.resources.log.many.states(names) if names else []
    return [name for name, state in zip(names, states, strict=True) if getattr(state, "policy", None) != EXTERNAL]


def _named(operator: Operator, names: list[str]) -> list[Json]:
    within_reach = [name for name in names if operator.reaches(name)]
    return [{"tenant": tenant_of(name), "id": id_of(name)} for name in within_reach[:NAMED]]
