"""Runs cases in volleys and judges them; nothing that goes wrong stops it."""

import asyncio
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import redis as redis_sync
from arq.constants import in_progress_key_prefix
from redis.asyncio import Redis

from tests import leaks
from tests.faults.checks import check
from tests.faults.family import Family
from tests.faults.fleets import primaries
from tests.faults.rig import Rig
from tests.faults.stage import POLL_S
from tests.faults.trial import Case, Trial
from tests.servers import ValkeyProcess
from tests.topology import PLAIN

CLEAN_S = 6.0
EVIDENCE = 3
"""How many trials of one volley are told in full; more of the same help nobody."""
Report = Callable[[str], None]


class Runner:
    """Runs families one after the other, each volley on a rig that is kept as long as it is sound.

    Attributes:
        server: The kind of server that the rigs have: one of `SERVER_KINDS`.
        topology: What their log is on: one of `TOPOLOGIES`.
    """

    def __init__(self, seed: int, report: Report, server: str, provider_url: str, topology: str = PLAIN) -> None:
        self.server = server
        self.topology = topology
        self.trials: list[Trial] = []
        self.leaks: list[str] = []
        self._seed = seed
        self._report = report
        self._provider_url = provider_url
        self._rig: Rig | None = None
        self._needs: object = None
        self._folder = Path(tempfile.mkdtemp(prefix="midstream-faults-"))
        self._rigs = 0

    async def run(self, family: Family, cases: Sequence[Case]) -> None:
        """Run some of a family's cases."""
        why_not = family.available()
        if why_not:
            self._report(f"{self.server} {family.name}: skipped: {why_not}")
            return
        began_s = time.monotonic()
        done: list[Trial] = []
        for start in range(0, len(cases), family.volley):
            trials = [Trial(case) for case in cases[start : start + family.volley]]
            await self._volley(family, trials)
            done += trials
        bad = [trial for trial in done if trial.violations]
        self._report(
            f"{self.server} {family.name}: {len(done)} cases, {len(bad)} violated, {time.monotonic() - began_s:.1f} s"
        )
        for sentence in (note for trial in done for note in trial.notes):
            self._report(f"  {sentence}")
        self.trials += done

    async def close(self) -> None:
        """Look for what was left over, and end all processes."""
        await self._drop(look=True)
        if not any(trial.violations for trial in self.trials):
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _volley(self, family: Family, trials: list[Trial]) -> None:
        try:
            rig = await self._ready(family)
            async with asyncio.timeout(family.limit_s):
                await family.run(rig, trials)
            for trial in trials:
                check(trial)
        except Exception:  # noqa: BLE001 - the next volley gets a new rig
            self._report(traceback.format_exc())
            for trial in trials:
                trial.breaks("the volley broke off")
        finally:
            reading = [task for trial in trials for task in trial.reading]
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)
        bad = [trial for trial in trials if trial.violations]
        for number, trial in enumerate(bad):
            self._report(evidence(trial) if number < EVIDENCE else f"VIOLATION {trial.case.id}: {trial.violations[0]}")
        if bad and self._rig is not None:
            self._report(self._rig.logs())
        if any("broke off" in trial.violations[0] for trial in bad):
            await self._drop(look=False)
        elif self._rig is not None:
            await self._rig.provider.reset()

    async def _ready(self, family: Family) -> Rig:
        needs = (family.serve, family.settings)
        if self._rig is not None and self._needs == needs:
            return self._rig
        await self._drop(look=True)
        self._rigs += 1
        folder = self._folder / f"rig{self._rigs}"
        rig = Rig(folder, self._seed, self.server, self._provider_url, family.serve, self.topology, **family.settings)
        self._rig, self._needs = await rig.__aenter__(), needs
        return rig

    async def _drop(self, *, look: bool) -> None:
        rig, self._rig = self._rig, None
        if rig is None:
            return
        try:
            if look:
                self.leaks += await leftovers(rig)
        except Exception:  # noqa: BLE001 - told, and the result is told as well
            self.leaks.append(f"it could not be looked for: {traceback.format_exc()}")
        finally:
            await rig.close()


async def leftovers(rig: Rig) -> list[str]:
    """Return what a rig has kept that nothing will ever remove (I8 clean)."""
    # Slips whose worker died stay until arq's mark on them expires, 20 s later: that need not be waited for.
    servers = await asyncio.to_thread(_servers_of, rig)
    for server in servers:
        async with Redis(port=server.port) as client:
            marks = [key async for key in client.scan_iter(f"{in_progress_key_prefix}*", count=1_000)]
            if marks:
                await client.delete(*marks)
    await rig.worker()
    deadline = time.monotonic() + CLEAN_S
    while left := await asyncio.to_thread(_left, servers):
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(POLL_S)
    return left


def _servers_of(rig: Rig) -> list[ValkeyProcess]:
    """Return the servers that hold keys."""
    if rig.fleet is None:
        return [rig.server]
    return [*primaries(rig.fleet), *([rig.fleet.queue] if rig.fleet.queue else [])]


def _left(servers: Sequence[ValkeyProcess]) -> list[str]:
    """Return what is wrong with the keys on servers; a list of live streams and the queue are to be empty."""
    left = [sentence for server in servers for sentence in leaks.key_leaks(server.url)]
    for server in servers:
        with redis_sync.Redis(port=server.port) as client:
            lists: Any = [key for pattern in ("ms:*due", "ms:queue") for key in client.scan_iter(pattern, count=1_000)]
            for key in lists:
                rows: Any = client.zrange(key, 0, 5, withscores=True)
                left += [f"{key.decode()} holds {row!r}" for row in rows]
    return left


def evidence(trial: Trial) -> str:
    """Return all that tells what happened to a trial."""
    case = trial.case
    lines = [
        f"VIOLATION {case.id} (seed {case.seed}): {case.model}, {case.policy}, at {case.point}, {case.script}",
        *(f"  ! {sentence}" for sentence in trial.violations),
        f"  stream {trial.stream_id}: {trial.state}",
    ]
    lines += [
        f"  log  {entry.offset}-{entry.epoch} {entry.type} {str(entry.data)[:160]}" for entry in trial.entries[-40:]
    ]
    for call in trial.calls:  # of a provider, or of a program that produces by itself
        facts = {name: call[name] for name in ("number", "api", "connection", "steps_sent", "at_ms") if name in call}
        lines.append(f"  paid call {facts}")
    for number, reader in enumerate(trial.readers):
        got = " ".join(f"{event.id}{'' if event.type == 'text' else event.type}" for event in reader.events)
        lines.append(f"  client {number}: {reader.connections} connections, over by {reader.over!r}: {got[:1500]}")
    return "\n".join(lines)
