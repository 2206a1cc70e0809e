"""The ceiling of a worker and of `midstream.produce`: how many entries a second they append, and what one costs."""

import http.client
import json
import time
from collections.abc import Callable
from typing import Final

from scripts.benchmarks.alone import delays
from scripts.benchmarks.benchmark import OURS, Benchmark, Figures
from scripts.benchmarks.firehose import GENERATIONS, PRODUCE, XADD
from scripts.benchmarks.rig import KEY, Rig, cpu_s

BARE: Final = "bare XADD"
PRODUCED: Final = "midstream.produce"
ENTRIES: Final = 10_000
QUICK_ENTRIES: Final = 2_000
MICRO: Final = 1e6


def _figures(entries: int, took_s: float, producer_s: float, redis_s: float) -> Figures:
    return {
        "entries/s": entries / took_s,
        "producer CPU, µs an entry": MICRO * producer_s / entries,
        "Redis CPU, µs an entry": MICRO * redis_s / entries,
    }


def _midstream(quick: bool) -> Figures:
    count = QUICK_ENTRIES if quick else ENTRIES
    with Rig() as rig:
        settings = {"apps": json.dumps({"firehose": "scripts.benchmarks.firehose:entries"})}
        worker = rig.worker(**settings)
        front = rig.front(**settings)
        connection = http.client.HTTPConnection("127.0.0.1", front.port)
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}

        def ask(method: str, where: str, body: str | None = None) -> dict[str, object]:
            connection.request(method, where, body, headers)
            answer: dict[str, object] = json.loads(connection.getresponse().read())
            return answer

        body = json.dumps({"model": "app/firehose", "input": "go", "params": {"count": count}})
        producer_s, redis_s, began_s = cpu_s(worker), cpu_s(rig.redis_pid), time.monotonic()
        streams = [ask("POST", "/v1/streams", body)["id"] for _ in range(GENERATIONS)]
        for stream in streams:
            # Asking for the end costs the front, not the worker; the output is not asked for.
            while (state := ask("GET", f"/v1/streams/{stream}"))["status"] != "ended":
                time.sleep(0.05)
            if state["outcome"] != "completed":
                raise RuntimeError(f"a generation {state['outcome']}: {state['error']}")
        took_s = time.monotonic() - began_s
        connection.close()
        return _figures(count * GENERATIONS, took_s, cpu_s(worker) - producer_s, cpu_s(rig.redis_pid) - redis_s)


def _program(how: str) -> Callable[[bool], Figures]:
    """Return a run of a program of its own that appends: by `midstream.produce`, or by XADD and nothing else."""

    def run(quick: bool) -> Figures:
        count = QUICK_ENTRIES if quick else ENTRIES
        with Rig() as rig:
            arguments = ["scripts.benchmarks.firehose", how, rig.redis_url, str(count)]
            process = rig.spawn("firehose", arguments, {}, piped=True)
            assert process.stdin is not None  # noqa: S101
            assert process.stdout is not None  # noqa: S101
            process.stdout.readline()
            producer_s, redis_s = cpu_s(process.pid), cpu_s(rig.redis_pid)
            process.stdin.write(b"go\n")
            process.stdin.flush()
            took_s = float(process.stdout.readline())
            producer_s, redis_s = cpu_s(process.pid) - producer_s, cpu_s(rig.redis_pid) - redis_s
            return {**_figures(count * GENERATIONS, took_s, producer_s, redis_s), **delays(how, rig)}

    return run


APPEND: Final = Benchmark(
    name="append",
    title="What the log takes at most of a worker, and of a program that produces by itself, without a provider's SDK",
    note=f"{GENERATIONS} generations at once whose source yields as fast as it is asked; the worker fences, batches, "
    "publishes and remembers each entry, and so does `midstream.produce`, in as many blocks of a program of its own. "
    "Beside them a process that only pipelines XADD in batches of the same size. Alone: an entry every 20 ms, to one "
    "tail of a broker, or to an XREAD. This is the log's ceiling, not what a worker generates from a "
    "provider, which is `tokens`.",
    systems={BARE: _program(XADD), PRODUCED: _program(PRODUCE), OURS: _midstream},
    plotted=("entries/s",),
    ratio=(OURS, BARE),
)
