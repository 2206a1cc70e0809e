"""Time to the first token: what a detour over a durable log adds to it."""

import json
import socket
import time
from typing import Final

from scripts.benchmarks.benchmark import OBVIOUS, OURS, Benchmark, Figures, percentile
from scripts.benchmarks.rig import KEY, Rig, cpu_s

FIRST_DELAY_MS: Final = 20
REQUESTS: Final = 250
QUICK_REQUESTS: Final = 50
WARM_UP: Final = 10
PAUSE_S: Final = 0.005
"""Between two requests: the system has come to rest."""
PROMPT: Final = {"script": {"words": 3, "first_delay_ms": FIRST_DELAY_MS}}
MESSAGES: Final = [{"role": "user", "content": json.dumps(PROMPT)}]


def _figures(port: int, path: str, body: dict[str, object], first: bytes, quick: bool) -> Figures:
    """Send request after request over one connection and return how much later than it could the first token came."""
    document = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(document)}\r\n\r\n".encode() + document
    added_ms: list[float] = []
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(WARM_UP + (QUICK_REQUESTS if quick else REQUESTS)):
            began_s = time.perf_counter()
            connection.sendall(request)
            answer = b""
            while first not in answer:
                answer += _received(connection, answer)
            added_ms.append((time.perf_counter() - began_s) * 1000 - FIRST_DELAY_MS)
            while not answer.endswith(b"0\r\n\r\n"):
                answer += _received(connection, answer)
            time.sleep(PAUSE_S)
    added_ms = added_ms[WARM_UP:]
    return {"added p50, ms": percentile(added_ms, 0.5), "added p99, ms": percentile(added_ms, 0.99)}


def _received(connection: socket.socket, so_far: bytes) -> bytes:
    data = connection.recv(65_536)
    if not data:
        raise RuntimeError(f"cut after {so_far[-300:]!r}")
    return data


def _provider(quick: bool) -> Figures:
    with Rig() as rig:
        port = int(rig.provider().rpartition(":")[2])
        body: dict[str, object] = {"model": "bench", "messages": MESSAGES, "stream": True}
        return _figures(port, "/v1/chat/completions", body, b'"content": "w0', quick)


def _proxy(quick: bool) -> Figures:
    with Rig() as rig:
        server = rig.obvious("proxy", PROVIDER_URL=f"{rig.provider()}/v1")
        return _figures(server.port, "/chat", {"model": "bench", "messages": MESSAGES}, b"event: text", quick)


def midstream(quick: bool, **locks: object) -> Figures:
    """Ask ours, with settings that bound more or less."""
    with Rig() as rig:
        settings = {"providers": json.dumps({"fake": f"{rig.provider()}/v1"})} | locks
        rig.worker(**settings)
        server = rig.front(**settings)
        body: dict[str, object] = {"model": "fake/bench", "messages": MESSAGES, "stream": True}
        used_s = cpu_s(server.pid)
        figures = _figures(server.port, "/v1/streams", body, b"event: text", quick)
        requests = WARM_UP + (QUICK_REQUESTS if quick else REQUESTS)
        return {**figures, "front CPU, ms a request": 1_000 * (cpu_s(server.pid) - used_s) / requests}


TTFT: Final = Benchmark(
    name="ttft",
    title="Time to first token, added to the provider's own",
    note=f"From the POST to the first text frame, less the provider's delay of {FIRST_DELAY_MS} ms, one request at a "
    "time over one connection. The provider on loopback alone is the floor; the obvious way is a FastAPI route that "
    "passes the same SDK's stream on and keeps nothing.",
    systems={"provider alone": _provider, OBVIOUS: _proxy, OURS: midstream},
    plotted=("added p50, ms", "added p99, ms"),
    ratio=None,
    headlines={"added p50, ms": "Time added to the provider's first token, p50, ms"},
)
