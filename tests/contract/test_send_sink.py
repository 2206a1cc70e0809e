"""The plain way of sending a tail, under middleware of others. PROTOCOL: Read/Fast path, Read/Truthful."""

import asyncio
import contextvars
from collections.abc import Callable

import anyio
import pytest
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from midstream.http.app import create_app
from midstream.settings import Settings
from tests import inside, sse
from tests.contract.long_answers import LONG, with_long
from tests.contract.raw_connections import COUNT, begun, unread_tail, until_no_tails

IN_SEND: contextvars.ContextVar[bool] = contextvars.ContextVar("in_send")


class Scoped:
    """Waits in `send`, inside a cancel scope and with a context variable that is reset afterwards."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def scoped_send(message: Message) -> None:
            with anyio.CancelScope():
                token = IN_SEND.set(True)
                await asyncio.sleep(0)
                await send(message)
                IN_SEND.reset(token)

        with anyio.CancelScope():
            await self._app(scope, receive, scoped_send)


class Dispatching(BaseHTTPMiddleware):
    """Passes responses on by a channel between two tasks."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


@pytest.mark.parametrize("middleware", [Scoped, Dispatching])
async def test_tails_are_sent_and_cut_under_any_middleware(
    settings: Settings, middleware: Callable[[ASGIApp], ASGIApp]
) -> None:
    """Read/Truthful, Read/Left."""
    plain = with_long(settings, fast_path="off", send_timeout_ms=500)
    async with inside.worker(plain), inside.served(plain, middleware(create_app(plain))) as client:
        stream_id = await begun(client, COUNT)
        live = await sse.tail(client, stream_id)
        assert [event.id for event in live] == list(range(1, len(live) + 1))
        assert live[-1].type == "end"
        stream_id = await begun(client, LONG)
        unread = await unread_tail(client, stream_id)
        whole = await sse.tail(client, stream_id)
        assert [event.id for event in whole] == list(range(1, len(whole) + 1))
        await until_no_tails(client, stream_id)
        received = b""
        while part := await asyncio.get_running_loop().sock_recv(unread, 65_536):
            received += part
        # Starlette's own base class completes what it passes on, whether its app has or not.
        assert received.endswith(b"0\r\n\r\n") is (middleware is Dispatching)
        assert b"event: end" not in received
        unread.close()
