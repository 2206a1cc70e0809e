"""A real HTTP server in a broker's place: it answers each request as its script says, and cuts, stalls or refuses."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from midstream.client.client import ClientEntry

Answer = Callable[["Exchange"], Awaitable[None]]
LENGTH = 12
SSE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@dataclass
class Exchange:
    """One request, and the writer that its answer goes to."""

    head: str
    body: bytes
    writer: asyncio.StreamWriter

    @property
    def line(self) -> str:
        return self.head.partition("\r\n")[0]

    def header(self, name: str) -> str | None:
        lines = (line.partition(":") for line in self.head.split("\r\n")[1:])
        return next((value.strip() for key, _, value in lines if key.lower() == name.lower()), None)

    async def send(self, status: int, document: object, headers: str = "") -> None:
        body = json.dumps(document).encode()
        head = f"HTTP/1.1 {status} Status\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        self.writer.write(head.encode() + body)
        await self.writer.drain()

    async def chunk(self, content: bytes) -> None:
        self.writer.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
        await self.writer.drain()


@dataclass
class ScriptedBroker:
    """Answers each request by the next of its answers, then by the last one."""

    answers: list[Answer]
    port: int = 0
    exchanges: list[Exchange] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def cursors(self) -> list[str | None]:
        return [exchange.header("Last-Event-ID") for exchange in self.exchanges]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            exchange = Exchange(head, b"", writer)
            exchange.body = await reader.readexactly(int(exchange.header("Content-Length") or 0))
            self.exchanges.append(exchange)
            await self.answers[min(len(self.exchanges), len(self.answers)) - 1](exchange)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client left
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@asynccontextmanager
async def scripted_broker(*answers: Answer) -> AsyncIterator[ScriptedBroker]:
    broker = ScriptedBroker(list(answers))
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(broker.serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    broker.port = server.sockets[0].getsockname()[1]
    try:
        yield broker
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


def frame(offset: int) -> bytes:
    data = {"type": "end", "outcome": "completed"} if offset == LENGTH else {"type": "text", "text": f"w{offset} "}
    return f"id: {offset}\nevent: {data['type']}\ndata: {json.dumps(data)}\n\n".encode()


LOG = [
    ClientEntry(offset, "text", {"text": f"w{offset} "})
    if offset < LENGTH
    else ClientEntry(offset, "end", {"outcome": "completed"})
    for offset in range(1, LENGTH + 1)
]


def replay(entries: int = LENGTH, *, back: int = 0, skip: int = 0, spill: int = 0) -> Answer:
    """Serve so many entries after the cursor, then cut; or repeat some first, skip some, tear the last frame."""

    async def answer(exchange: Exchange) -> None:
        cursor = int(exchange.header("Last-Event-ID") or 0)
        exchange.writer.write(SSE_HEAD)
        await exchange.chunk(b"retry: 1\n\n: a heartbeat\n\n")
        for offset in range(max(1, cursor + 1 - back + skip), min(LENGTH, cursor + entries) + 1):
            await exchange.chunk(frame(offset))
        if spill:
            await exchange.chunk(frame(LENGTH)[:spill])

    return answer


def refuse(status: int, code: str, headers: str = "") -> Answer:
    async def answer(exchange: Exchange) -> None:
        await exchange.send(status, {"code": code, "detail": "because"}, headers)

    return answer


def send(status: int, document: object) -> Answer:
    async def answer(exchange: Exchange) -> None:
        await exchange.send(status, document)

    return answer


async def drop(_: Exchange) -> None:
    """Close without an answer."""


async def stall(exchange: Exchange) -> None:
    exchange.writer.write(SSE_HEAD)
    await exchange.chunk(b"retry: 1\n\n")
    await asyncio.Event().wait()
