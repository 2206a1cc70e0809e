"""The worker's ceiling: how many entries a second it appends, and what one costs."""

import http.client
import json
import time
from typing import Final

from scripts.benchmarks.benchmark import OURS, Benchmark, Figures
from scripts.benchmarks.firehose import GENERATIONS
from scripts.benchmarks.rig import KEY, Rig, cpu_s

BARE: Final = "bare XADD"
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


def _bare(quick: bool) -> Figures:
    count = QUICK_ENTRIES if quick else ENTRIES
    with Rig() as rig:
        process = rig.spawn("firehose", ["scripts.benchmarks.firehose", rig.redis_url, str(count)], {}, piped=True)
        assert process.stdin is not None  # noqa: S101
        assert process.stdout is not None  # noqa: S101
        process.stdout.readline()
        producer_s, redis_s, began_s = cpu_s(process.pid), cpu_s(rig.redis_pid), time.monotonic()
        process.stdin.write(b"go\n")
        process.stdin.flush()
        process.stdout.readline()
        took_s = time.monotonic() - began_s
        return _figures(count * GENERATIONS, took_s, cpu_s(process.pid) - producer_s, cpu_s(rig.redis_pid) - redis_s)


APPEND: Final = Benchmark(
    name="append",
    title="What a worker's log takes at most, without a provider's SDK",
    note=f"{GENERATIONS} generations at once whose source yields as fast as it is asked; the worker fences, batches, "
    "publishes and remembers each entry. Beside it a process that only pipelines XADD in batches of the same size. "
    "This is the log's ceiling, not what a worker generates: with the official SDKs and the HTTP client "
    "below them, one worker does 4,600 to 7,200 tokens/s.",
    systems={BARE: _bare, OURS: _midstream},
    plotted=("entries/s",),
    ratio=(OURS, BARE),
)
