"""What a client costs that opens a long answer: python -m scripts.benchmarks.catchup.

Clients read a whole ended stream over HTTP one after another, plainly, with `catchup=coalesced` and compressed: first
with the log in Redis alone, then with it in the broker's memory, each after another offset: none is sent the chunk of
another. Bytes are those of the body as it comes.
"""

import time
from typing import Final

import httpx2

from scripts.benchmarks.benchmark import OURS
from scripts.benchmarks.following import path, started
from scripts.benchmarks.rig import KEY, Rig, cpu_s, machine

ENTRIES: Final = 20_000
READS: Final = 40
WAYS: Final = ("plain", "coalesced", "plain, gzip", "coalesced, gzip")


def measure(way: str) -> list[str]:
    """Return the rows of one way: CPU of the broker, time and bytes of a read."""
    with Rig() as rig, httpx2.Client(headers={"Authorization": f"Bearer {KEY}"}, timeout=30) as client:
        catchup, _, encoding = way.partition(", ")
        server, producer = started(rig, OURS, 1, gzip=bool(encoding))
        producer.append(ENTRIES - 1)
        producer.end()
        url = f"http://127.0.0.1:{server.port}{path(producer.streams[0])}?catchup={catchup}&after="
        client.headers["Accept-Encoding"] = encoding or "identity"

        def read(first: int, last: int) -> str:
            used_s, began_s, size_bytes = cpu_s(server.pid), time.monotonic(), 0
            for after in range(first, last):
                with client.stream("GET", f"{url}{after}") as answer:
                    size_bytes += sum(map(len, answer.raise_for_status().iter_raw()))
            reads = last - first
            took_ms = (time.monotonic() - began_s) * 1_000 / reads
            cpu_ms = (cpu_s(server.pid) - used_s) * 1_000 / reads
            return f"CPU {cpu_ms:.1f} ms, {took_ms:.1f} ms, {size_bytes // reads:,} bytes"

        return [f"{way}, from Redis: {read(0, 1)}", f"{way}, from memory: {read(1, READS + 1)}"]


if __name__ == "__main__":
    for each in WAYS:
        print(*measure(each), sep="\n")
    print(machine())
