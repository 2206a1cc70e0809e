"""One producer and one tail that have the machine to themselves: how long an entry is on its way.

`python -m scripts.benchmarks.alone HOW URL ENTRIES` prints the id of what it appends to, waits for a line, and appends.
"""

import asyncio
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import redis
from redis.asyncio import Redis

from midstream.producer.entrance import produce
from scripts.benchmarks.benchmark import Figures, percentile
from scripts.benchmarks.firehose import PRODUCE
from scripts.benchmarks.rig import KEY, TENANT, Rig

ENTRIES: Final = 250
PAUSE_S: Final = 0.02
BARE_KEY: Final = "bench:alone"
FOLLOWS_S: Final = 0.5
"""By then the tail has replayed what there is, and waits."""
READ_BYTES: Final = 65_536
BLOCK_MS: Final = 5_000
STAMP: Final = re.compile(rb'"at":([0-9.]+)\}')
"""When an entry was appended, by the monotonic clock, which all processes of a machine share."""


def delays(how: str, rig: Rig) -> Figures:
    """Return how long entries take from the call that appends one to the process that reads them."""
    port = rig.front().port if how == PRODUCE else 0
    process = rig.spawn("alone", ["scripts.benchmarks.alone", how, rig.redis_url, str(ENTRIES)], {}, piped=True)
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None  # noqa: S101
    assert stdout is not None  # noqa: S101
    stream_id = stdout.readline().decode().strip()

    def go() -> None:
        stdin.write(b"go\n")
        stdin.flush()

    entries = _tail(port, stream_id, go) if how == PRODUCE else _reader(rig.redis_url, go)
    taken_ms: list[float] = []
    for data in entries:
        now_s = time.monotonic()
        taken_ms += [(now_s - float(stamp)) * 1000 for stamp in STAMP.findall(data)]
        if len(taken_ms) == ENTRIES:
            break
    return {"alone, to one tail: p50, ms": percentile(taken_ms, 0.5), "alone: p99, ms": percentile(taken_ms, 0.99)}


def _tail(port: int, stream_id: str, go: Callable[[], None]) -> Iterator[bytes]:
    request = f"GET /v1/streams/{stream_id}/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request.encode())
        time.sleep(FOLLOWS_S)
        go()
        unread = b""
        while data := connection.recv(READ_BYTES):
            frames, end, unread = (unread + data).rpartition(b"\n\n")
            yield frames + end


def _reader(url: str, go: Callable[[], None]) -> Iterator[bytes]:
    with redis.Redis.from_url(url) as client:
        go()
        last: Any = "0"
        while rows := client.xread({BARE_KEY: last}, block=BLOCK_MS):
            for entry_id, fields in rows[0][1]:
                last = entry_id
                yield fields[b"e"]


async def _produce(url: str, count: int) -> None:
    async with produce(url, tenant=TENANT, chunking={"flush_ms": 0}) as out:
        print(out.id, flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        for _ in range(count):
            await out.data("n", at=time.monotonic())
            await asyncio.sleep(PAUSE_S)


async def _append(url: str, count: int) -> None:
    print(BARE_KEY, flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    async with Redis.from_url(url) as client:
        for _ in range(count):
            await client.xadd(BARE_KEY, {"e": f'd{{"kind":"n","at":{time.monotonic()}}}'})
            await asyncio.sleep(PAUSE_S)


if __name__ == "__main__":
    run = _produce if sys.argv[1] == PRODUCE else _append
    asyncio.run(run(sys.argv[2], int(sys.argv[3])))
