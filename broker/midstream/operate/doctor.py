"""Reads what the diagnosis of an installation is made of (PROTOCOL: Operate/Doctor)."""

import os
from dataclasses import asdict

from midstream.log.entries import Json
from midstream.operate import fleet, outlets, queue_report, redis_report
from midstream.operate.diagnosis import Readings, diagnose, summary
from midstream.operate.operator import Operator


async def examined(operator: Operator, *, fast_path: str | None, open_files: int) -> Json:
    """Return what is wrong or unsafe in the installation.

    Args:
        operator: Who asks.
        fast_path: Why tails of this process are not written past the server; None: they are.
        open_files: How many files this process may have open.
    """
    findings = diagnose(
        Readings(
            settings=operator.settings,
            redis=await redis_report.redis_report(operator),
            workers=(await fleet.workers(operator))["data"],
            brokers=(await fleet.brokers(operator))["data"],
            queue=await queue_report.queue(operator),
            outlets=await outlets.outlets(operator),
            fast_path=fast_path,
            open_files=open_files,
            memory_bytes=_memory_bytes(),
        )
    )
    return {**summary(findings), "data": [asdict(finding) for finding in findings]}


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0
