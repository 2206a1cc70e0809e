"""A receiver of webhooks that a test tells how to answer, on a port that stays the same while it is down."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from openai import OpenAI

from tests.servers import free_port

SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD_SECRET = "whsec_" + "C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
OK = b"HTTP/1.1 204 No Content\r\n\r\n"
VERIFIER = OpenAI(api_key="unused")

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Request(NamedTuple):
    """What the receiver was sent."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def data(self) -> dict[str, Any]:
        """The event's data."""
        data: dict[str, Any] = orjson.loads(self.body)["data"]
        return data

    def verify(self, secret: str = SECRET) -> None:
        """Raise unless the signature is right, by the implementation of OpenAI's SDK."""
        VERIFIER.webhooks.verify_signature(self.body, self.headers, secret=secret)


class Receiver:
    """Answers each request as the next of `answers` says, and as `decide` says when there is none left."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.requests: list[Request] = []
        self.answers: list[bytes | Answer] = []
        self.decide: Callable[[Request], bytes | Answer] = lambda _: OK
        self.came = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/ends?key=of-the-url"

    @property
    def ids(self) -> list[str]:
        """The streams whose ends came, in their order."""
        return [request.data["id"] for request in self.requests]

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def until(self, number: int, wait_s: float = 15) -> list[Request]:
        """Wait until so many requests came, and return all."""
        async with asyncio.timeout(wait_s), self.came:
            await self.came.wait_for(lambda: len(self.requests) >= number)
        return self.requests

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._answer(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
                body = await reader.readexactly(int(headers["content-length"]))
                request = Request(head[0].split()[1], headers, body)
                async with self.came:
                    self.requests.append(request)
                    self.came.notify_all()
                answer = self.answers.pop(0) if self.answers else self.decide(request)
                if callable(answer):
                    await answer(writer)
                else:
                    writer.write(answer)
                if answer != OK:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """Yield a receiver that listens."""
    each = Receiver(free_port())
    await each.open()
    try:
        yield each
    finally:
        await each.close()


def webhooks_file(path: Path, *rows: tuple[str, str], secrets: Sequence[str] = (SECRET,), text: bool = False) -> Path:
    """Write a file with a row for each pair of tenant and URL."""
    named = ", ".join(f'"{each}"' for each in secrets)
    path.write_text(
        "\n".join(
            f'[[webhooks]]\ntenant = "{tenant}"\nurl = "{url}"\nsecrets = [{named}]\ntext = {str(text).lower()}'
            for tenant, url in rows
        )
    )
    return path
