"""What a broker holds of ended streams that are read at random: python -m scripts.benchmarks.window [--seconds 300].

It is no benchmark of `scripts/bench`: those take seconds, and this one is a promise with a bound. The exit status is 1
where the broker grows by more than `MIDSTREAM_WINDOW_BYTES` and a fifth of it. Every stream is read by two faces: what
was read of it and the frames of both are in the window.
"""

import argparse
import asyncio
import random
import sys
import time
from pathlib import Path
from typing import Final

import httpx2

from scripts.benchmarks.rig import KEY, Rig, Server, machine, raise_file_limit

STREAMS: Final = 10_000
WORDS: Final = 60
STARTS_AT_ONCE: Final = 100
READERS: Final = 32
WINDOW_BYTES: Final = 67_108_864
SHARE: Final = 1.2
SAMPLE_S: Final = 1.0
ENDED_S: Final = 60
WARM_UP_READS: Final = 200


def resident_bytes(pid: int) -> int:
    """Return how much of a process is in memory."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * 4_096


async def started(http: httpx2.AsyncClient, count: int) -> list[str]:
    """Return the ids of so many streams that have ended."""
    gate = asyncio.Semaphore(STARTS_AT_ONCE)

    async def start() -> str:
        async with gate:
            params = {"words": WORDS, "delay_ms": 1}
            chunking = {"flush_ms": 0, "flush_bytes": 1}  # an entry for each word
            body = {"model": "demo/count", "input": "x", "params": params, "chunking": chunking}
            answer = await http.post("/v1/streams", json=body)
            answer.raise_for_status()
            stream_id = str(answer.json()["id"])
            state = (await http.get(f"/v1/streams/{stream_id}", params={"wait": ENDED_S})).json()
            if state["status"] != "ended":
                raise RuntimeError(f"{stream_id} does not end")
            return stream_id

    return await asyncio.gather(*(start() for _ in range(count)))


async def read(http: httpx2.AsyncClient, stream_id: str, face: int) -> int:
    """Read a whole stream by one of the faces; return how many bytes it was."""
    path = f"/v1/streams/{stream_id}/events" if face else f"/v1/responses/resp_{stream_id}?stream=true"
    answer = await http.get(path)
    answer.raise_for_status()
    return len(answer.content)


async def measure(server: Server, seconds: float, count: int) -> float:
    """Read at random for so long; return by how much the broker has grown at most, as a share of the window."""
    limits = httpx2.Limits(max_connections=STARTS_AT_ONCE)
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx2.AsyncClient(
        base_url=f"http://127.0.0.1:{server.port}", timeout=120, limits=limits, headers=headers
    ) as http:
        first = await started(http, READERS)
        for number in range(WARM_UP_READS):  # the interpreter's own memory has grown by then
            await read(http, first[number % READERS], number % 2)
        before = resident_bytes(server.pid)
        ids = await started(http, count)
        deadline_s, most, reads, size_bytes = time.monotonic() + seconds, 0, 0, 0

        async def reader() -> None:
            nonlocal reads, size_bytes
            while time.monotonic() < deadline_s:
                length = await read(http, random.choice(ids), random.getrandbits(1))  # noqa: S311
                size_bytes += length
                reads += 1

        async def watch() -> None:
            nonlocal most
            while time.monotonic() < deadline_s:
                most = max(most, resident_bytes(server.pid) - before)
                await asyncio.sleep(SAMPLE_S)

        await asyncio.gather(watch(), *(reader() for _ in range(READERS)))
    print(f"{reads:,} reads of {count:,} streams, {size_bytes / 2**20:,.0f} MiB, in {seconds:g} s; {machine()}")
    print(f"grown by {most / 2**20:.1f} MiB at most: {most / WINDOW_BYTES:.2f} of the window")
    return most / WINDOW_BYTES


def main() -> int:
    """Run it; return the exit status."""
    parser = argparse.ArgumentParser(prog="window")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--streams", type=int, default=STREAMS)
    arguments = parser.parse_args()
    raise_file_limit()
    with Rig() as rig:
        # All streams are started at once, by one tenant.
        settings: dict[str, object] = {"window_bytes": WINDOW_BYTES, "tenant_starts_per_minute": 0}
        rig.worker(**settings)
        share = asyncio.run(measure(rig.front(**settings), arguments.seconds, arguments.streams))
    return int(share > SHARE)


if __name__ == "__main__":
    sys.exit(main())
