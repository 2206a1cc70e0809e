"""A few cases of every family, so that a change that loses something does not wait for the full run."""

import asyncio

import pytest

from tests.faults.catalogue import FAMILIES
from tests.faults.runner import Runner
from tests.servers import SERVER_KINDS
from tests.topology import PLAIN

SEED = 1
A_FEW = 3
SHARES = {"valkey": 1, "redis": 2}
"""Of so many families one is sampled on each kind of server; `scripts/faults --all` runs all on both."""


@pytest.mark.slow_start(60)
@pytest.mark.timeout(300)
@pytest.mark.parametrize("server", SERVER_KINDS)
async def test_a_sample_of_every_family(server: str, provider_url: str) -> None:
    lines: list[str] = []
    runner = Runner(SEED, lines.append, server, provider_url)
    try:
        sampled = [family for family in FAMILIES.values() if family.in_sample and PLAIN in family.on]
        for family in sampled[:: SHARES[server]]:
            # Spread over all points of the family; its volley is shared, so one point of time for all.
            numbers = range(0, family.volley, max(1, family.volley // A_FEW))
            await runner.run(family, [family.case(number, SEED) for number in numbers])
    finally:
        await runner.close()
    await asyncio.sleep(0)

    assert runner.trials, "no family ran"
    assert [trial.case.id for trial in runner.trials if trial.violations] == [], "\n".join(lines)
    assert runner.leaks == []
