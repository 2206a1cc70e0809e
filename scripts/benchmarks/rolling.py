"""A deploy under load: brokers and workers are replaced one by one, and every reader's bytes are compared."""

import http.client
import json
import os
import queue
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any, Final

from scripts.benchmarks.benchmark import OURS, Benchmark, Figures, percentile
from scripts.benchmarks.rig import KEY, ROOT, Rig
from scripts.benchmarks.rolling_clients import Frames, Reader, Readers, Seat

BROKERS: Final = 3
ROUNDS: Final = 2
GENERATIONS: Final = 100
TAILS_EACH: Final = 20
QUICK_GENERATIONS: Final = 25
WORDS: Final = 60
DELAY_MS: Final = 200
UNREADY_MS: Final = 300
DRAIN_S: Final = 60
"""Longer than any generation, so that no worker cuts one."""
SETTLED_S: Final = 3.0
TIMEOUT_S: Final = 300.0
OK: Final = (200, 201)


class Starts(threading.Thread):
    """Starts the next stream of each seat, and compares what the clients of the one before have read with its log.

    Attributes:
        started: Seats whose stream is there.
        wrong: What was not as it should be.
        read: Streams whose clients were compared.
    """

    def __init__(self, ports: list[int]) -> None:
        super().__init__(daemon=True)
        self.started: queue.Queue[Seat] = queue.Queue()
        self.wrong: list[str] = []
        self.read = 0
        self.tries = 0
        self._ports = ports
        self._orders: queue.Queue[tuple[Seat, str, list[str]] | None] = queue.Queue()

    def go_on(self, seat: Seat) -> None:
        """Have the seat's next stream started."""
        self._orders.put((seat, seat.stream, seat.digests))

    def finish(self) -> None:
        """Return when all that was asked for is done."""
        self._orders.put(None)
        self.join()

    def run(self) -> None:
        """Work until told to finish."""
        while (order := self._orders.get()) is not None:
            seat, stream, digests = order
            try:
                if stream:
                    self._compare(stream, digests)
                body = {"model": "demo/count", "input": "x", "params": {"words": WORDS, "delay_ms": DELAY_MS}}
                key = {"Idempotency-Key": f"{id(seat)} {time.monotonic_ns()}"}
                seat.follow(json.loads(self._ask("POST", "/v1/streams", json.dumps(body), key))["id"])
                self.started.put(seat)
            except Exception as error:  # noqa: BLE001 - the run fails by it
                self.wrong.append(f"{type(error).__name__}: {error}")

    def _compare(self, stream: str, digests: list[str]) -> None:
        state = json.loads(self._ask("GET", f"/v1/streams/{stream}"))
        if state["outcome"] != "completed":
            self.wrong.append(f"{stream} {state['outcome']}: {state['error']}")
        frames = Frames()
        frames.feed(self._ask("GET", f"/v1/streams/{stream}/events"))
        if frames.last != state["tail"] or set(digests) != {frames.digest()}:
            self.wrong.append(
                f"{stream}: {len(set(digests) - {frames.digest()})} clients have other bytes than its log"
            )
        self.read += 1

    def _ask(self, method: str, path: str, body: str | None = None, more: dict[str, str] | None = None) -> bytes:
        """Ask any broker, and another one where it is gone or refuses for now, as a proxy does."""
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json", **(more or {})}
        deadline_s = time.monotonic() + TIMEOUT_S
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", random.choice(self._ports), timeout=30)  # noqa: S311
            try:
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
                if answer.status in OK:
                    return content
                if answer.status != http.client.SERVICE_UNAVAILABLE or time.monotonic() > deadline_s:
                    raise RuntimeError(f"{method} {path}: {answer.status} {content.decode()}")
            except (OSError, http.client.HTTPException):
                if time.monotonic() > deadline_s:
                    raise
            finally:
                connection.close()
            self.tries += 1
            time.sleep(0.02)


class Deploy(threading.Thread):
    """Replaces each broker and each worker, one by one: the new one is ready before the old one is told to stop.

    Attributes:
        error: What went wrong.
        stops_s: How long each broker took from the signal to its end.
    """

    def __init__(self, rig: Rig, ports: list[int], settings: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self.error: Exception | None = None
        self.stops_s: list[float] = []
        self._rig = rig
        self._ports = ports
        self._settings = settings
        self._brokers: dict[int, int] = {}
        self._workers: list[int] = []
        self._first = rig.before or ROOT

    def begin(self) -> None:
        """Start the first ones."""
        for _ in range(BROKERS):
            self._add_broker(self._first)
            self._add_worker(self._first)

    def run(self) -> None:
        """Replace all, as often as there are rounds: by this checkout first, then by the version before again."""
        try:
            time.sleep(SETTLED_S)
            for turn in range(ROUNDS * BROKERS):
                checkout = ROOT if turn < BROKERS else self._first
                self._replace_worker(checkout)
                self._replace_broker(checkout)
            time.sleep(SETTLED_S)
        except Exception as error:  # noqa: BLE001 - the run fails by it
            self.error = error

    def _add_worker(self, checkout: Path) -> None:
        self._workers.append(self._rig.worker(checkout, **self._settings))

    def _add_broker(self, checkout: Path) -> None:
        server = self._rig.front(checkout, **self._settings)
        self._brokers[server.port] = server.pid
        self._ports.append(server.port)

    def _replace_broker(self, checkout: Path) -> None:
        oldest = next(iter(self._brokers))
        pid = self._brokers.pop(oldest)
        self._add_broker(checkout)
        began_s = time.monotonic()
        os.kill(pid, signal.SIGTERM)
        time.sleep(UNREADY_MS / 2_000)  # so long a proxy takes to learn that it is not ready
        self._ports.remove(oldest)
        status = self._rig.ended(pid, TIMEOUT_S)
        self.stops_s.append(time.monotonic() - began_s)
        if status != -signal.SIGTERM:
            raise RuntimeError(f"a broker ended with {status}")

    def _replace_worker(self, checkout: Path) -> None:
        """Leave the old one to finish what it runs beside what comes next."""
        oldest = self._workers.pop(0)
        self._add_worker(checkout)
        os.kill(oldest, signal.SIGTERM)


def run(quick: bool) -> Figures:
    """Deploy everything twice, under load."""
    with Rig() as rig:
        ports: list[int] = []
        settings = {"broker_unready_ms": UNREADY_MS, "drain_s": DRAIN_S}
        deploy = Deploy(rig, ports, settings)
        deploy.begin()
        starts = Starts(ports)
        starts.start()
        seats = [Seat() for _ in range(QUICK_GENERATIONS if quick else GENERATIONS)]
        for seat in seats:
            seat.clients = [Reader(seat) for _ in range(TAILS_EACH)]
        is_over = False

        def ended(seat: Seat) -> None:
            open_seats.discard(id(seat))
            if not is_over:
                starts.go_on(seat)

        open_seats: set[int] = set()
        readers = Readers(ports, seats, ended)
        for seat in seats:
            starts.go_on(seat)
        deploy.start()
        deadline_s = time.monotonic() + TIMEOUT_S
        while not is_over or open_seats:
            readers.turn(0.01)
            while not starts.started.empty():
                seat = starts.started.get()
                open_seats.add(id(seat))
                readers.begin(seat)
            is_over = is_over or not deploy.is_alive()
            if starts.wrong or deploy.error or time.monotonic() > deadline_s:
                break
        starts.finish()
        readers.close()
        return _figures(readers, starts, deploy, len(seats), late=len(open_seats))


def _figures(readers: Readers, starts: Starts, deploy: Deploy, seats: int, *, late: int) -> Figures:
    if deploy.error:
        raise deploy.error
    if starts.wrong or late or readers.gaps or set(readers.refusals) - {http.client.SERVICE_UNAVAILABLE}:
        raise RuntimeError(f"{starts.wrong[:5]}; {late} streams not read; {readers.gaps} gaps; {readers.refusals}")
    return {
        "tails": float(seats * TAILS_EACH),
        "streams read by all, none with another byte": float(starts.read),
        "brokers and workers replaced": float(2 * BROKERS * ROUNDS),
        "partings": float(readers.partings),
        "connections cut": float(readers.cut),
        "of them refused for now (503)": float(sum(readers.refusals.values())),
        "parting to caught up p50, ms": percentile(readers.caught_up_ms, 0.5),
        "parting to caught up p99, ms": percentile(readers.caught_up_ms, 0.99),
        "parting to caught up, worst, ms": max(readers.caught_up_ms),
        "return to caught up p99, ms": percentile(readers.of_return_ms, 0.99),
        "starts tried again": float(starts.tries),
        "broker's stop, worst, s": max(deploy.stops_s),
    }


ROLLING: Final = Benchmark(
    name="rolling",
    title="A deploy under 2,000 tails and 100 generations",
    note=f"{BROKERS} brokers and {BROKERS} workers are replaced one by one, {ROUNDS} times; the new process is ready "
    f"before the old one gets SIGTERM. {GENERATIONS} streams of {WORDS} words run at any time, each with {TAILS_EACH} "
    "tails, and every tail's frames are compared with the log by a digest. A client comes back after the delay that "
    "its last broker asked for, to any broker; that delay is part of the time from parting to caught up.",
    systems={OURS: run},
    plotted=("parting to caught up p99, ms",),
    ratio=None,
)
