"""What a release has left on the server: made by its own programs, and brought to a server again by tests.

Everything is plain text, because the server's own dumps are read by no older server.
"""

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx2
import orjson
from redis.asyncio import Redis

from tests.servers import ValkeyProcess, free_port

FOLDER: Final = Path(__file__).parent / "data" / "releases"
KEY: Final = {"Authorization": "Bearer alpha"}
TURN: Final = {"id": "c", "messages": [{"id": "m", "role": "user", "parts": [{"type": "text", "text": "hi"}]}]}
ASK: Final[dict[str, Any]] = {"model": "demo/count", "messages": [{"role": "user", "content": "hi"}], "stream": True}
STARTS: Final[dict[str, dict[str, Any]]] = {
    "/v1/streams": {"model": "demo/count", "input": "hi", "thread": "t", "user": "ann", "metadata": {"a": "b"}},
    "/v1/responses": {"model": "demo/count", "input": "hi", "stream": True},
    "/v1/chat/completions": ASK,
    "/v1/messages": ASK | {"max_tokens": 99},
    "/api/chat": TURN | {"model": "demo/count"},
}
"""A start at each endpoint; each has an idempotency key."""
SLOW: Final = {"model": "demo/count", "input": "hi", "params": {"words": 1_000, "delay_ms": 100}}
SETTINGS: Final = {"MIDSTREAM_API_KEYS": "alpha:acme", "MIDSTREAM_LEASE_MS": "1000", "MIDSTREAM_DEMO_DELAY_MS": "1"}
PASSING: Final = (
    "ms:sign:",
    "ms:roll:",
    "ms:brokers",
    "ms:minute:",
    "ms:memory",
    "ms:answers:",
    "ms:fsync",
    "ms:queue",
)
"""What is on the server for moments; arq's keys, which are of the queue, are left out too."""
LATEST_MS: Final = 1_000_000_000_000
"""Numbers above this are times, and are moved to the day on which they are read."""
READY_S: Final = 60.0


def idempotency_key(name: str) -> dict[str, str]:
    """Return the header of a start."""
    return KEY | {"Idempotency-Key": f"order of {name}"}


async def make(name: str, checkout: Path) -> Path:
    """Have a checkout's programs write streams of every kind, and store what they leave; return the file."""
    with tempfile.TemporaryDirectory() as folder, ValkeyProcess(Path(folder)) as server:
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(str(checkout / part) for part in ("broker", "worker")),
            "MIDSTREAM_REDIS_URL": server.url,
            **SETTINGS,
        }
        port = free_port()
        async with (
            _process(["midstream.cli", "broker", "--port", str(port)], environment, folder),
            _process(["midstream_worker"], environment, folder) as worker,
            httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30, headers=KEY) as client,
        ):
            await _ready(client)
            streams, events = await _write(client, worker)
        async with Redis.from_url(server.url) as redis:
            stored = {"taken_ms": time.time_ns() // 1_000_000, "streams": streams, "events": events}
            stored["keys"] = await _dump(redis)
    path = FOLDER / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(stored, option=orjson.OPT_INDENT_2) + b"\n")
    return path


async def _write(client: httpx2.AsyncClient, worker: asyncio.subprocess.Process) -> tuple[dict[str, str], Any]:
    """Return the streams by what became of them, and the events of those that have ended."""
    streams: dict[str, str] = {}
    for path, body in STARTS.items():
        answer = await client.post(path, json=body, headers=idempotency_key(path))
        assert answer.is_success, (path, answer.text)
        streams[path] = answer.headers["stream-id"]
    for name in ("cancelled", "deleted", "running"):
        streams[name] = (await client.post("/v1/streams", json=SLOW, headers=idempotency_key(name))).json()["id"]
        async with client.stream("GET", f"/v1/streams/{streams[name]}/events") as tail:
            async for line in tail.aiter_lines():
                if line == "event: text":
                    break
    await client.post(f"/v1/streams/{streams['cancelled']}/cancel")
    await client.delete(f"/v1/streams/{streams['deleted']}")
    for name in (*STARTS, "cancelled"):
        await client.get(f"/v1/streams/{streams[name]}", params={"wait": 20})
    worker.kill()
    await worker.wait()
    started = await client.post("/v1/streams", json={"model": "demo/count", "input": "hi"})
    streams["queued"] = started.json()["id"]
    events = {
        name: frames_of((await client.get(f"/v1/streams/{streams[name]}/events?follow=false")).text)
        for name in (*STARTS, "cancelled", "running")
    }
    return streams, events


def frames_of(text: str) -> list[str]:
    """Return the frames of a stream's events that have an id."""
    return [frame for frame in text.split("\n\n") if "id: " in frame.split("event: ")[0]]


async def _dump(redis: Redis) -> dict[str, dict[str, Any]]:
    """Return every key that lasts, with its kind, its content and how long it is kept."""
    keys: dict[str, dict[str, Any]] = {}
    execute: Any = redis.execute_command
    for key in sorted(await redis.keys("ms:*")):
        if key.decode().startswith(PASSING):
            continue
        kind = (await redis.type(key)).decode()
        command = {
            "hash": ("HGETALL",),
            "zset": ("ZRANGE", 0, -1, "WITHSCORES"),
            "stream": ("XRANGE", "-", "+"),
            "string": ("GET",),
        }[kind]
        name, *words = command
        # As bytes, because redis-py makes something else of the answer to a name that it knows.
        content = await execute(str(name).encode(), key, *words)
        keys[key.decode()] = {"kind": kind, "kept_ms": await redis.pttl(key), "content": _text(content)}
    return keys


def _text(content: Any) -> Any:
    return [_text(each) for each in content] if isinstance(content, list) else content.decode()


def stored_release(name: str) -> dict[str, Any]:
    """Return what is stored of a release."""
    release: dict[str, Any] = orjson.loads((FOLDER / f"{name}.json").read_bytes())
    return release


async def bring_back(redis: Redis, release: dict[str, Any]) -> None:
    """Write what a release has left, as if that had been a moment ago."""
    later_ms = time.time_ns() // 1_000_000 - release["taken_ms"]

    def today(word: str) -> str:
        return str(int(float(word)) + later_ms) if word.isdecimal() and int(word) > LATEST_MS else word

    execute: Any = redis.execute_command
    for key, row in release["keys"].items():
        content: Any = row["content"]
        match row["kind"]:
            case "hash":
                await execute("HSET", key, *map(today, content))
            case "zset":
                pairs = zip(content[1::2], content[::2], strict=True)
                await execute("ZADD", key, *(word for score, of in pairs for word in (today(score), of)))
            case "stream":
                for row_id, fields in content:
                    await execute("XADD", key, row_id, *fields)
            case "string":
                await redis.set(key, content)
        if row["kept_ms"] > 0:
            await redis.pexpire(key, row["kept_ms"])


@asynccontextmanager
async def _process(
    arguments: list[str], environment: dict[str, str], folder: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(sys.executable, "-P", "-m", *arguments, env=environment, cwd=folder)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await process.wait()


async def _ready(client: httpx2.AsyncClient) -> None:
    async with asyncio.timeout(READY_S):
        while True:
            try:
                if (await client.get("/readyz")).is_success:
                    return
            except httpx2.TransportError:
                await asyncio.sleep(0.05)
