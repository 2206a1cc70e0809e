"""Connections to a broker with nothing between: requests written by hand, tails that are never read."""

import asyncio
import socket
import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import httpx2

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""For SO_LINGER: the connection is reset as it is closed."""

COUNT = {"model": "demo/count", "input": "x", "params": {"words": 10, "delay_ms": 20}}


async def begun(client: httpx2.AsyncClient, body: Mapping[str, object]) -> str:
    stream_id: str = (await client.post("/v1/streams", json=body)).json()["id"]
    return stream_id


def tail_request(stream_id: str, further: str = "") -> bytes:
    return f"GET /v1/streams/{stream_id}/events HTTP/1.1\r\nHost: localhost\r\n{further}\r\n".encode()


async def open_connection(
    client: httpx2.AsyncClient, **options: Any
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(client.base_url.host, client.base_url.port, **options)


async def until_no_tails(client: httpx2.AsyncClient, stream_id: str) -> None:
    async with asyncio.timeout(5):
        while (await client.get(f"/v1/streams/{stream_id}")).json()["tails"]:
            await asyncio.sleep(0.01)


async def unread_tail(
    client: httpx2.AsyncClient, stream_id: str, headers: Mapping[str, str] = MappingProxyType({})
) -> socket.socket:
    """Open a tail and never read it; the small buffer makes the server wait soon."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    connection.setblocking(False)  # noqa: FBT003
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, (client.base_url.host, client.base_url.port))
    further = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    await loop.sock_sendall(connection, tail_request(stream_id, further))
    return connection


async def next_answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Read one answer that comes in chunks; return its head and its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head.lower(), head
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
    return head, body
