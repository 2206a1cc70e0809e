"""The wire: event streams that notice a client's leaving, and connections that break on demand."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from midstream.testing.provider.ledger import Call
from midstream.testing.provider.script import Broken

_TRANSPORT = "midstream.test.transport"


class BreakableProtocol(HttpToolsProtocol):
    """HTTP that lets the application reset the connection."""

    def on_message_begin(self) -> None:
        """Give the app the transport of its connection."""
        super().on_message_begin()
        self.scope["state"][_TRANSPORT] = self.transport


def reset(scope: Scope) -> None:
    """Send a TCP reset: the client loses the connection in the midst of whatever it reads."""
    transport = scope["state"][_TRANSPORT]
    no_linger = struct.pack("ii", 1, 0)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
    transport.abort()


def frame(data: Any, event: str | None = None) -> bytes:
    """Return an SSE frame; text that is cut in the midst of a character goes out as JSON escapes."""
    named = f"event: {event}\n" if event else ""
    return f"{named}data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()


GARBAGE = frame("{this is no JSON")


class EventStream(Response):
    """Sends frames until they end, break or nobody reads any more, and enters in the books which it was."""

    media_type = "text/event-stream"

    def __init__(self, frames: AsyncGenerator[bytes], call: Call) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._frames = frames
        self._call = call

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all frames, as ASGI wants it."""
        sending = asyncio.create_task(self._send(scope, send))
        leaving = asyncio.create_task(_left(receive))
        await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not sending.done():
            self._call.end("client_closed")
        for task in (sending, leaving):
            task.cancel()
        await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send(self, scope: Scope, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            async with aclosing(self._frames) as frames:
                async for data in frames:
                    await send({"type": "http.response.body", "body": data, "more_body": True})
        except Broken as broken:
            self._call.end("cut")
            if broken.fail == "reset":
                reset(scope)
                return
        if not self._call.ended.is_set():
            self._call.end("completed")
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class NoAnswer(Response):
    """Breaks the connection, or is silent, before there are any headers."""

    def __init__(self, fail: str, call: Call) -> None:
        super().__init__()
        self._fail = fail
        self._call = call

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all frames, as ASGI wants it."""
        del send
        if self._fail == "stall":
            await _left(receive)
            self._call.end("client_closed")
        else:
            self._call.end("cut")
            reset(scope)


def json_answer(body: Any, call: Call, retry_after: float | None = None) -> Response:
    """Return a whole answer in one piece, entered in the books as completed."""
    call.end("completed")
    headers = {} if retry_after is None else {"retry-after": f"{retry_after:g}"}
    return JSONResponse(body, call.status, headers)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
