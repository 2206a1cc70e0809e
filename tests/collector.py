"""A collector of traces: answers OTLP over HTTP, and keeps the spans that processes send it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

WAIT_S = 10.0
SAME = ("midstream.stream.id", "midstream.tenant", "gen_ai.conversation.id")
"""What all spans of a generation have alike."""


@dataclass
class Received:
    """One span as it came, with its ids in hex and its times in ns; `process` is what sent it."""

    process: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    begin_ns: int
    end_ns: int
    facts: dict[str, Any]
    events: list[str]
    links: list[str]
    is_error: bool


@dataclass
class Collector:
    """What has been sent so far."""

    url: str = ""
    raw: bytes = b""
    spans: list[Received] = field(default_factory=list)
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, is_there: Callable[[list[Received]], object]) -> list[Received]:
        """Wait until the spans that came are as wanted, and return them in the order in which they began."""
        async with asyncio.timeout(WAIT_S):
            while not is_there(self.spans):
                self._came.clear()
                await self._came.wait()
        return sorted(self.spans, key=lambda span: span.begin_ns)

    def take(self, body: bytes) -> bytes:
        """Keep what a request holds, and return the answer's body."""
        self.raw += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            process = {each.key: each.value.string_value for each in resource.resource.attributes}
            name = f"{process['service.name']} {process['service.instance.id'].rpartition('-')[2]}"
            for scope in resource.scope_spans:
                self.spans += [_received(name, span) for span in scope.spans]
        self._came.set()
        answer: bytes = ExportTraceServiceResponse().SerializeToString()
        return answer


def lines(spans: list[Received]) -> Iterator[str]:
    """Yield a line for each span, below the one that it is part of."""
    begin_ns = min(span.begin_ns for span in spans)
    ids = {span.span_id for span in spans}
    within: dict[str, list[Received]] = {}
    for span in sorted(spans, key=lambda span: span.begin_ns):
        within.setdefault(span.parent_id if span.parent_id in ids else "", []).append(span)

    def below(parent_id: str, depth: int) -> Iterator[str]:
        for span in within.get(parent_id, ()):
            at_ms, took_ms = (span.begin_ns - begin_ns) / 1e6, (span.end_ns - span.begin_ns) / 1e6
            facts = " ".join(f"{name}={value}" for name, value in sorted(span.facts.items()) if name not in SAME)
            events = "".join(f" *{event}" for event in span.events)
            name = f"{'  ' * depth}{span.name}{events}{' FAILED' if span.is_error else ''}"
            yield f"{at_ms:8.1f} ms {took_ms:8.1f} ms  {name:<28} {span.process:<22} {facts}"
            yield from below(span.span_id, depth + 1)

    yield from below("", 0)


def _received(process: str, span: Any) -> Received:
    return Received(
        *(process, span.name, span.kind, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()),
        *(span.start_time_unix_nano, span.end_time_unix_nano),
        {each.key: _value(each.value) for each in span.attributes},
        [event.name for event in span.events],
        [link.trace_id.hex() for link in span.links],
        span.status.code == 2,
    )


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return [_value(each) for each in value.array_value.values] if kind == "array_value" else getattr(value, kind)


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """Answer OTLP at a free port."""
    collector = Collector()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while head := (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower():
                assert head.startswith("post /v1/traces "), head
                length = int(head.partition("content-length:")[2].partition("\r\n")[0])
                body = collector.take(await reader.readexactly(length))
                reply = (
                    f"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: {len(body)}\r\n\r\n"
                )
                writer.write(reply.encode() + body)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    collector.url = f"http://{host}:{port}"
    try:
        yield collector
    finally:
        server.close()
        server.close_clients() if hasattr(server, "close_clients") else None
        await asyncio.sleep(0)


@asynccontextmanager
async def silent() -> AsyncIterator[str]:
    """Accept connections at a free port, and never answer."""

    async def hold(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await over.wait()
        finally:
            writer.close()

    over = asyncio.Event()
    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    try:
        yield "http://{}:{}".format(*server.sockets[0].getsockname())
    finally:
        over.set()
        server.close()
