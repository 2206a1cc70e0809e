"""How many tails of one stream a single process serves before they fall behind."""

from functools import partial
from typing import Final

from scripts.benchmarks.benchmark import Benchmark, Figures
from scripts.benchmarks.following import FOLLOWED, PEER_NOTE, measured, path, started
from scripts.benchmarks.load import Load
from scripts.benchmarks.rig import Rig

RATE: Final = 50
LATEST_MS: Final = 250
STEPS: Final = (
    *(50, 100, 150, 200, 300, 400, 500, 600, 800, 1_000, 1_250, 1_500, 1_750, 2_000, 2_500, 3_000, 3_500, 4_000),
    *(5_000, 6_000, 7_000, 8_000, 10_000, 12_000),
)
STEP_S: Final = 4
QUICK_S: Final = 2


def _run(system: str, quick: bool) -> Figures:
    figures: Figures = {}
    reached = 0
    with Rig() as rig:
        server, producer = started(rig, system, 1)
        with Load(server.port) as load:
            for step in STEPS:
                load.tail(path(producer.streams[0]), step - len(load.clients))
                load.join()
                entries = RATE * (QUICK_S if quick else STEP_S)
                load.reach(load.clients[0].last, 10)  # new tails replay what the others have received
                step_figures = measured(rig, server, producer, load, entries, RATE)
                if step_figures["delay p99, ms"] > LATEST_MS or step_figures["tails left behind"]:
                    break
                reached, figures = step, step_figures
    kept = ("delay p50, ms", "delay p99, ms", "front busy, %", "front waiting for a core, %", "load client busy, %")
    return {"tails": float(reached), **{name: figures.get(name, 0.0) for name in kept}}


CAPACITY: Final = Benchmark(
    name="capacity",
    title=f"Most tails of one stream at {RATE} entries/s with a p99 delay of at most {LATEST_MS} ms",
    note="Tails are added step by step until the delay is exceeded; the figures are those of the last good step. "
    f"Clients, producer, front and Redis share the machine.{PEER_NOTE}",
    systems={system: partial(_run, system) for system in FOLLOWED},
    plotted=("tails",),
    headlines={"tails": f"Most tails of one stream within a p99 delay of {LATEST_MS} ms"},
)
