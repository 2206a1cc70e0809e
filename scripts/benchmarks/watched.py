"""What it costs a broker to be looked at by Prometheus and by the console, while it does its work."""

import http.client
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import mean
from types import MappingProxyType, TracebackType
from typing import Final, Self

from midstream.access.api_keys import digest
from scripts.benchmarks.benchmark import OURS, Benchmark, Figures
from scripts.benchmarks.find import KEY_ROW
from scripts.benchmarks.following import FANOUT_SHAPE, measured, path, started
from scripts.benchmarks.load import Load
from scripts.benchmarks.producer import TENANT
from scripts.benchmarks.rig import Rig
from tests.servers import free_port

ROUNDS: Final = 3
SCRAPE_EVERY_S: Final = 5.0
"""Prometheus' own default is 60 s, and many ask every 15."""
BUSY: Final = "front busy, %"


class Onlooker:
    """Asks a broker for some paths, each at its own pace, for the time of a `with` block.

    Raises:
        RuntimeError: A request was refused, when the block ends.
    """

    def __init__(self, port: int, paces: Mapping[str, float]) -> None:
        self._port = port
        self._paces = paces
        self._stop = threading.Event()
        self._problem = ""
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._problem and kind is None:
            raise RuntimeError(self._problem)

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        due_s = dict.fromkeys(self._paces, time.monotonic())
        while due_s and not self._stop.wait(max(0.0, min(due_s.values()) - time.monotonic())):
            path = min(due_s, key=lambda each: due_s[each])
            due_s[path] += self._paces[path]
            connection.request("GET", path, headers={"Authorization": "Bearer operator"})
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != http.client.OK:
                self._problem = f"{path}: {answer.status} {body[:500]!r}"
                break
        connection.close()


def _console(stream: str) -> dict[str, dict[str, float]]:
    """Return what each page of the console asks for, and how often, in s."""
    of_stream = f"/v1/operate/streams/{TENANT}/{stream}"
    overview = dict.fromkeys((f"/v1/operate/{name}" for name in ("workers", "brokers", "queue", "redis")), 2.0)
    return {
        "the console's overview": {**overview, "/v1/operate/stats": 10.0, "/v1/operate/doctor": 30.0},
        "the console's list": {"/v1/operate/streams?limit=100": 1.5},
        "the console's page of the stream": {
            of_stream: 2.0,
            f"{of_stream}/entries?after=100&limit=100": 1.0,
            f"{of_stream}/shape": 5.0,
        },
    }


def _run(quick: bool) -> Figures:
    shape = FANOUT_SHAPE
    run_s = shape.quick_s if quick else shape.run_s
    with Rig() as rig, tempfile.TemporaryDirectory() as folder:
        keys_file, metrics_port = Path(folder) / "keys.toml", free_port()
        keys_file.write_text(KEY_ROW.format(digest("operator")))
        server, producer = started(rig, OURS, shape.streams, keys_file=keys_file, metrics_port=metrics_port)
        (stream,) = producer.streams
        onlookers = {
            "a scrape of /metrics": (metrics_port, {"/metrics": SCRAPE_EVERY_S}),
            **{name: (server.port, paces) for name, paces in _console(stream).items()},
        }
        with Load(server.port) as load:
            load.tail(path(stream), shape.tails)
            load.join()

            def busy(port: int = server.port, paces: Mapping[str, float] = MappingProxyType({})) -> float:
                with Onlooker(port, paces):
                    return measured(rig, server, producer, load, int(run_s * shape.rate), shape.rate)[BUSY]

            return _compared(busy, onlookers, 1 if quick else ROUNDS)


def _compared(
    busy: Callable[..., float], onlookers: Mapping[str, tuple[int, Mapping[str, float]]], rounds: int
) -> Figures:
    """Return what each onlooker adds to what the broker used in the phases just before and after it.

    What a delivery costs drifts by several percent within minutes, as the machine has it, so a mean over all phases
    without an onlooker says little about a phase with one.
    """
    alone = [busy()]
    more: dict[str, list[float]] = {name: [] for name in onlookers}
    for _ in range(rounds):
        for name, (port, paces) in onlookers.items():
            beside = busy(port, paces)
            alone.append(busy())
            more[name].append(beside - mean(alone[-2:]))
    return {BUSY: mean(alone)} | {f"{name}, % of a core more": mean(each) for name, each in more.items()}


WATCHED: Final = Benchmark(
    name="watched",
    title="A broker that is looked at",
    note=f"CPU of a broker with one stream to 1,000 tails at 50 entries/s: alone, while Prometheus asks every "
    f"{SCRAPE_EVERY_S:g} s, and while each page of the console asks as often as in a browser. Phases of 10 s, "
    f"each between two without an onlooker, {ROUNDS} times; single runs differ by 2 %.",
    systems={OURS: _run},
    ratio=None,
    plotted=(BUSY,),
    headlines={},
)
