"""Asks a worker or a broker to drain and end (PROTOCOL: Operate/Drain)."""

from typing import Final

from midstream.journal import audit
from midstream.log.roll import Kind
from midstream.operate.operator import Operator

ACT: Final = "drain"


class ProcessAbsentError(Exception):
    """There is no worker, or no broker, of this name on the roll."""


async def drain(operator: Operator, kind: Kind, name: str) -> None:
    """Ask a process to drain, as SIGTERM does; it sees that at its next sign.

    Raises:
        ProcessAbsentError: There is none of that name.
        LogUnavailable: Redis did not answer.
    """
    if not await operator.resources.operations.roll.drain(kind, name):
        raise ProcessAbsentError(name)
    await operator.note(ACT, audit.DONE, process=name, kind=kind)
    audit.done(ACT, operator.asker, **operator.names, reason=f"{kind} {name}")
