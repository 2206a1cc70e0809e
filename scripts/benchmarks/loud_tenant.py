"""A tenant that asks for twice what it may, for `neighbours.py`: python -m scripts.benchmarks.loud_tenant PORT.

Its clients do as SDKs do: what is refused they try again when `Retry-After` says so. On SIGTERM it says how often each
request was answered how.
"""

import asyncio
import json
import random
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

import httpx2
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

KEY: Final = "loud"
LIMITS: Final = {
    "tenant_starts_per_minute": 120,
    "tenant_generations": 20,
    "tenant_tails": 200,
    "tenant_waits": 20,
    "tenant_sockets": 5,
    "tenant_stored_bytes": 20_000_000,
}
"""What `neighbours.py` allows it."""
TIMES: Final = 2
LISTS: Final = 2
START: Final = {"model": "demo/count", "input": "x" * 2_000, "params": {"words": 50, "delay_ms": 200}, "stream": True}
PAUSE_S: Final = 0.5
"""Before a connection that broke is opened again, and while there is no stream to tail."""
REFUSED: Final = 429


class LoudTenant:
    """Asks for everything at once, again and again."""

    def __init__(self, port: int) -> None:
        bounds = httpx2.Limits(max_connections=None)
        headers = {"Authorization": f"Bearer {KEY}"}
        self._port = port
        self._http = httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30, limits=bounds)
        self._streams: list[str] = []
        self.answers: Counter[str] = Counter()

    async def run(self) -> None:
        """Go on until this is cancelled."""
        acts: dict[Callable[[], Awaitable[None]], int] = {
            self._start: TIMES * LIMITS["tenant_generations"],
            self._tail: TIMES * LIMITS["tenant_tails"],
            self._wait: TIMES * LIMITS["tenant_waits"],
            self._list: LISTS,
            self._talk: TIMES * LIMITS["tenant_sockets"],
        }
        async with asyncio.TaskGroup() as group:
            for act, count in acts.items():
                for _ in range(count):
                    group.create_task(self._again_and_again(act))

    async def _again_and_again(self, act: Callable[[], Awaitable[None]]) -> None:
        await asyncio.sleep(random.uniform(0, 2))  # noqa: S311
        while True:
            try:
                await act()
            except (httpx2.HTTPError, ConnectionClosed, OSError, TimeoutError) as error:
                self.answers[f"{act.__name__[1:]} {type(error).__name__}"] += 1
                await asyncio.sleep(PAUSE_S)

    async def _ask(self, name: str, method: str, path: str, body: object = None) -> None:
        async with self._http.stream(method, path, json=body) as answer:
            self.answers[f"{name} {answer.status_code}"] += 1
            if answer.status_code == REFUSED:
                await answer.aread()
                await asyncio.sleep(min(10, int(answer.headers["retry-after"])) * random.uniform(1, 1.2))  # noqa: S311
                return
            if name == "start":
                self._streams = [*self._streams, answer.headers["stream-id"]][-LIMITS["tenant_generations"] :]
            async for _ in answer.aiter_raw():
                pass

    async def _start(self) -> None:
        await self._ask("start", "POST", "/v1/streams", START)

    async def _tail(self) -> None:
        await self._of_a_stream("tail", "/events")

    async def _wait(self) -> None:
        await self._of_a_stream("wait", "?wait=10")

    async def _of_a_stream(self, name: str, rest: str) -> None:
        if not self._streams:
            await asyncio.sleep(PAUSE_S)
            return
        await self._ask(name, "GET", f"/v1/streams/{random.choice(self._streams)}{rest}")  # noqa: S311

    async def _list(self) -> None:
        await self._ask("list", "GET", "/v1/streams?status=failed")

    async def _talk(self) -> None:
        headers = {"Authorization": f"Bearer {KEY}"}
        async with connect(f"ws://127.0.0.1:{self._port}/v1/ws", additional_headers=headers) as socket:
            greeting = json.loads(await socket.recv())
            self.answers[f"socket {greeting['type']}"] += 1
            if greeting["type"] == "error":
                await asyncio.sleep(greeting["retry_after_s"])
                return
            while True:
                await socket.send('{"type": "ping"}')
                await socket.recv()
                self.answers["message"] += 1


async def _main(port: int) -> None:
    tenant = LoudTenant(port)
    running = asyncio.create_task(tenant.run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    await asyncio.wait((running,))
    print(", ".join(f"{name}: {count:,}" for name, count in sorted(tenant.answers.items())), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
