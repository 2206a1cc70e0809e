"""`scripts/faults`: which cases to run, and what to say about them."""

import argparse
import asyncio
import os
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from tests import fork_server, leaks
from tests.faults.catalogue import FAMILIES
from tests.faults.family import Family
from tests.faults.runner import Runner
from tests.faults.table import document, table
from tests.faults.trial import Case, Trial
from tests.provider.client import provider_process
from tests.servers import SERVER_KINDS
from tests.topology import PLAIN, TOPOLOGIES

RESULT = Path("bench-results/faults.md")
EVERY = "every"
Plan = list[tuple[Family, list[Case]]]


def main() -> int:
    """Run what the command line asks for; return 1 if anything was violated."""
    options = _options()
    if options.list:
        for family in FAMILIES.values():
            print(f"{family.name:32} {family.cases} cases, on {', '.join(family.on)}")  # noqa: T201
        return 0
    os.environ[leaks.RUN_VARIABLE] = str(os.getpid())
    seed = random.SystemRandom().randint(0, 999_999) if options.seed is None else options.seed
    servers = list(SERVER_KINDS) if options.server == EVERY else [options.server]
    try:
        return asyncio.run(_run(_plan(options, seed), seed, servers, options.topology))
    finally:
        fork_server.close_shared()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Break real processes at chosen points, and check what comes of it.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--all", action="store_true", help="every case of every family")
    what.add_argument("--family", choices=FAMILIES, action="append", help="the cases of one family; may be repeated")
    what.add_argument("--case", metavar="NAME:NUMBER", help="one case again, under the seed that it was found with")
    what.add_argument("--list", action="store_true", help="name the families")
    parser.add_argument("--cases", type=int, help="how many cases of each family")
    parser.add_argument("--server", choices=[*SERVER_KINDS, EVERY], default=EVERY, help="kind of server")
    parser.add_argument("--topology", choices=TOPOLOGIES, default=PLAIN, help="what the log is on")
    parser.add_argument("--seed", type=int, help="draws the same cases as another run")
    options = parser.parse_args()
    chosen = options.family or ([options.case.partition(":")[0]] if options.case else [])
    for name in chosen:
        if options.topology not in FAMILIES[name].on:
            parser.error(f"{name} is not for {options.topology}: it is for {', '.join(FAMILIES[name].on)}")
    return options


def _plan(options: argparse.Namespace, seed: int) -> Plan:
    if options.case:
        name, _, number = options.case.partition(":")
        return [(FAMILIES[name], [FAMILIES[name].case(int(number), seed)])]
    chosen: Sequence[str] = options.family or [name for name in FAMILIES if options.topology in FAMILIES[name].on]
    return [
        (FAMILIES[name], [FAMILIES[name].case(n, seed) for n in range(options.cases or FAMILIES[name].cases)])
        for name in chosen
    ]


async def _run(plan: Plan, seed: int, servers: Sequence[str], topology: str) -> int:
    task = asyncio.current_task()
    assert task
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    began_s = time.monotonic()
    before = leaks.Belongings.now()
    print(f"seed {seed}")  # noqa: T201
    runs: dict[str, list[Trial]] = {}
    left: list[str] = []
    with provider_process("provider") as provider_url:
        for server in servers:
            runner = Runner(seed, _say, server, provider_url, topology)
            runs[server] = runner.trials
            try:
                for family, cases in plan:
                    await runner.run(family, cases)
            finally:
                await runner.close()
            left += [f"{server}: {sentence}" for sentence in runner.leaks]
    left += await asyncio.to_thread(leaks.leftovers, before)
    for server, trials in runs.items():
        print(f"\n{server}\n\n{table(trials)}\n")  # noqa: T201
    for sentence in left:
        print(f"LEFT OVER {sentence}")  # noqa: T201
    if topology == PLAIN and len(plan) == sum(PLAIN in family.on for family in FAMILIES.values()):
        _keep(document(runs, seed, time.monotonic() - began_s, left))
    every = [trial for trials in runs.values() for trial in trials]
    print(f"{len(every)} cases in {time.monotonic() - began_s:.0f} s; replay with --case ID --seed {seed}")  # noqa: T201
    return 1 if left or any(trial.violations for trial in every) else 0


def _say(sentence: str) -> None:
    print(sentence, flush=True)  # noqa: T201


def _keep(result: str) -> None:
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(result)
