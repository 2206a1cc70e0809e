"""Clients without a key that hold connections do not stop a start. PROTOCOL: Read/Connections.

`scripts/slow_loris` does the same with 10,000.
"""

from pathlib import Path

import pytest

from tests.slow_loris import KEY, attacked
from tests.slow_loris_attack import KINDS
from tests.system import System

ATTACKERS = 300
CONNECTIONS = 200
LASTS_S = 6.0
SPARE_FILES = 256
TIMES = {"head_timeout_ms": 2_000, "body_timeout_ms": 2_000, "send_timeout_ms": 2_000, "ws_auth_s": 2}


@pytest.mark.timeout(120)
async def test_more_attackers_than_connections_do_not_stop_a_start(redis_url: str, tmp_path: Path) -> None:
    system = System(redis_url, tmp_path, None, **TIMES, api_keys=f"{KEY}:acme", max_connections=CONNECTIONS)
    async with system:
        await system.start()
        seen = await attacked(system, ATTACKERS, LASTS_S)
    assert seen.most_open >= CONNECTIONS / 2, "there was no attack"
    assert set(seen.closed) == set(KINDS), "each kind is closed some time"
    assert len(seen.starts_ms) >= 5
    assert max(seen.starts_ms) < 5_000
    assert seen.refused <= 2, "only when all attackers come at once"
    before, during, after = seen.files
    assert during <= before + CONNECTIONS + SPARE_FILES
    assert after <= before + 2
    assert max(seen.memory_mib) < seen.memory_mib[0] + 128
