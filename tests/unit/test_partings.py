"""How a process that stops spreads its partings (PROTOCOL: Drain/Spread)."""

import asyncio

import pytest

from midstream.hub.partings import RETRY_SHARES, SLOWEST_PER_S, STEP, part_from_all

RETRY_MS = 1_000


class Waiting:
    """Something that waits, and notes when it was parted from."""

    def __init__(self) -> None:
        self.retries_ms: list[int] = []
        self.at_s = 0.0

    def part(self, retry_ms: int) -> None:
        self.retries_ms.append(retry_ms)
        self.at_s = asyncio.get_running_loop().time()


@pytest.mark.parametrize(("number", "spread_s", "takes_s"), [(200, 0.1, 0.1), (100, 9.0, 100 / SLOWEST_PER_S)])
async def test_partings_are_spread_and_latecomers_get_in_vain(number: int, spread_s: float, takes_s: float) -> None:
    """Drain/Spread: over the time that there is, or the shorter one that few need."""
    everybody = [Waiting() for _ in range(number)]
    late, is_late = Waiting(), asyncio.Event()

    def present() -> list[Waiting]:
        waiting = [each for each in everybody if not each.retries_ms]
        if waiting:
            return waiting
        is_late.set()
        return [] if late.retries_ms else [late]

    began_s = asyncio.get_running_loop().time()
    parting = asyncio.create_task(part_from_all(present, spread_s, RETRY_MS))
    await asyncio.wait_for(is_late.wait(), takes_s + 5)
    parting.cancel()
    await asyncio.wait((parting,))

    assert [len(each.retries_ms) for each in (*everybody, late)] == [1] * (number + 1)
    least_ms, most_ms = (share * RETRY_MS for share in RETRY_SHARES)
    assert all(least_ms <= each.retries_ms[0] <= most_ms for each in everybody)
    assert max(each.at_s for each in everybody) - began_s >= takes_s * (1 - STEP / number) * 0.9
    assert len({each.at_s for each in everybody}) >= number // STEP, "not all in one moment"
    assert [each.at_s for each in everybody] != sorted(each.at_s for each in everybody), "in random order"
