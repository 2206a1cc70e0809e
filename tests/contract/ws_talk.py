"""A client of the WebSocket door: one JSON message at a time, by the `websockets` package."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

START = {"model": "demo/count", "input": "count", "params": {"words": 12}}


@asynccontextmanager
async def dial(client: httpx2.AsyncClient, **options: Any) -> AsyncIterator["Talk"]:
    prefix = client.base_url.path.rstrip("/")
    url = f"ws://{client.base_url.host}:{client.base_url.port}{prefix}/v1/ws"
    async with connect(url, **options) as socket:
        yield Talk(socket)


class Talk:
    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def say(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def hear(self, *kinds: str) -> dict[str, Any]:
        """Return the next message of one of these types."""
        while True:
            message: dict[str, Any] = json.loads(await asyncio.wait_for(self.socket.recv(), 10))
            if not kinds or message["type"] in kinds:
                return message

    async def entries(self, *ids: str) -> dict[str, list[dict[str, Any]]]:
        """Return these streams' entries, up to the tails' ends."""
        read: dict[str, list[dict[str, Any]]] = {stream_id: [] for stream_id in ids}
        left = set(ids)
        while left:
            message = await self.hear("entries", "closed")
            if message["type"] == "closed":
                left.remove(message["id"])
            else:
                read[message["id"]] += message["entries"]
        return read

    async def until_closed(self, read: list[dict[str, Any]], others: list[dict[str, Any]] | None = None) -> int | None:
        """Add the entries that still come to those read, and to `others` what comes without an offset.

        Return the code that the socket is closed with.
        """
        try:
            while True:
                for entry in (await self.hear("entries"))["entries"]:
                    (read if "offset" in entry else others if others is not None else []).append(entry)
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None
