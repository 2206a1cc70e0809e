"""One client among many that never reads: what the others notice of it, and how long it is suffered."""

import http.client
import json
import threading
import time
from functools import partial
from typing import Final

from scripts.benchmarks.benchmark import OURS, Benchmark, Figures
from scripts.benchmarks.following import measured, path, started
from scripts.benchmarks.load import Load
from scripts.benchmarks.rig import KEY, Rig

TAILS: Final = 1_000
RATE: Final = 20
SIZE: Final = 1_024
SEND_TIMEOUT_S: Final = 2
BUFFER_BYTES: Final = 4_096
"""Asked of the kernel for what it receives in the name of the client that does not."""
LOGGED: Final = 5_000
"""What it is sent and leaves: more than the kernel's buffers take, some megabytes."""
TIMEOUT_S: Final = 60.0
RUN_S: Final = 15
QUICK_S: Final = 6
LOOK_S: Final = 0.25


class _Departure(threading.Thread):
    """Asks the front for its number of tails, until it is down to that of the readers."""

    def __init__(self, port: int, stream: str) -> None:
        super().__init__(daemon=True)
        self.after_s = float("nan")
        self._port = port
        self._stream = stream

    def run(self) -> None:
        """Ask now and then."""
        began_s = time.monotonic()
        while time.monotonic() - began_s < RUN_S + SEND_TIMEOUT_S:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
            connection.request("GET", f"/v1/streams/{self._stream}", headers={"Authorization": f"Bearer {KEY}"})
            tails = json.loads(connection.getresponse().read())["tails"]
            connection.close()
            if tails == TAILS:
                self.after_s = time.monotonic() - began_s
                return
            time.sleep(LOOK_S)


def _run(quick: bool, *, present: bool) -> Figures:
    with Rig() as rig:
        server, producer = started(rig, OURS, 1, SIZE, send_timeout_ms=SEND_TIMEOUT_S * 1_000)
        with Load(server.port) as load:
            producer.append(LOGGED)
            readers = load.add(path(producer.streams[0]), TAILS)
            for reader in readers:
                reader.last = 1 + LOGGED  # it comes back, and has read what there is
            load.ask(readers)
            load.watch(readers)
            producer.append(1)
            load.reach(2 + LOGGED, TIMEOUT_S)
            if present:
                load.ask(load.add(path(producer.streams[0]), 1, BUFFER_BYTES))
                departure = _Departure(server.port, producer.streams[0])
                departure.start()
            figures = measured(rig, server, producer, load, RATE * (QUICK_S if quick else RUN_S), RATE)
            kept = {name: figures[name] for name in ("delay p50, ms", "delay p99, ms", "delivered, %")}
            if present:
                departure.join()
                kept["gone after, s"] = departure.after_s
            return kept


NEVER_READING: Final = Benchmark(
    name="never-reading",
    title=f"One client among {TAILS:,} never reads",
    note=f"{TAILS:,} tails at {RATE} entries/s of {SIZE:,} bytes. The one asks for {LOGGED:,} entries from before and "
    f"reads nothing; it is cut {SEND_TIMEOUT_S} s (MIDSTREAM_SEND_TIMEOUT_MS) after all buffers have filled up.",
    systems={"all read": partial(_run, present=False), "one never reads": partial(_run, present=True)},
    plotted=("delay p99, ms",),
    ratio=None,
)
