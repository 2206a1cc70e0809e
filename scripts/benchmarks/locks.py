"""What keys and limits cost: python -m scripts.benchmarks.locks [NAME…] [--runs 6] [--quick].

`storm`, `light` and `ttft` are run by a broker with a key and all limits of the defaults, and by one that is open and
bounds nothing, in turn, so that a slow minute of the machine meets both. The exit status is 1 where the median of what
is bounded is more than 3 % higher with locks. The other times depend on the whole machine, so they are only shown.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from typing import Final

from scripts.benchmarks import following, storm, ttft
from scripts.benchmarks.benchmark import OURS, Figures, medians
from scripts.benchmarks.following import LIGHT_SHAPE, NO_LOCKS, UNLOCKED
from scripts.benchmarks.rig import machine, raise_file_limit

BOUND: Final = 1.03
SYSTEMS: Final = (UNLOCKED, OURS)
RUNS: Final[dict[str, dict[str, Callable[[bool], Figures]]]] = {
    "storm": {system: partial(storm.run, system) for system in SYSTEMS},
    "light": {system: partial(following.run, system, LIGHT_SHAPE) for system in SYSTEMS},
    "ttft": {UNLOCKED: partial(ttft.midstream, **NO_LOCKS), OURS: ttft.midstream},
}
FIGURES: Final[dict[str, dict[str, bool]]] = {
    "storm": {"front CPU, ms a client": True, "all caught up, s": False},
    "light": {"of which front, CPU s": True, "CPU s per million": True, "delay p50, ms": False},
    "ttft": {"added p50, ms": True, "front CPU, ms a request": False},
}
"""The figures that are shown of each, and whether the bound holds for them."""


def measure(name: str, runs: int, *, quick: bool) -> dict[str, Figures]:
    """Return each system's medians of a benchmark."""
    results: dict[str, list[Figures]] = {system: [] for system in SYSTEMS}
    for number in range(runs):
        for system in SYSTEMS if number % 2 else reversed(SYSTEMS):
            results[system].append(RUNS[name][system](quick))
    return {system: medians(each) for system, each in results.items()}


def main() -> None:
    """Measure, and say whether the bound holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(FIGURES)}; all of them by default")
    parser.add_argument("--runs", type=int, default=6, help="runs of each system, whose medians are compared")
    parser.add_argument("--quick", action="store_true", help="shorter and rougher")
    arguments = parser.parse_args()
    raise_file_limit()
    kept = True
    for name in arguments.names or FIGURES:
        figures = FIGURES[name]
        results = measure(name, arguments.runs, quick=arguments.quick)
        for figure, is_bound in figures.items():
            without, with_locks = (results[system][figure] for system in SYSTEMS)
            ratio = with_locks / without
            kept &= ratio <= BOUND or not is_bound
            bound = f", at most {BOUND}" if is_bound else ""
            line = (
                f"{name:6} {figure:24} without {without:9.3f}  with locks {with_locks:9.3f}  {ratio:.3f} times{bound}"
            )
            print(line, flush=True)
    print(machine())
    print("verdict: the bound holds" if kept else "verdict: the bound does not hold")
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
