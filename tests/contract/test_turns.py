"""Which requests begin in one turn of the event loop (PROTOCOL: Limits/Turns)."""

import asyncio
import itertools
import socket
from contextlib import AsyncExitStack, closing

import pytest
from starlette.types import Receive, Scope, Send

from midstream.http.fast_path.turns import MOST, WEIGHTS, Turns, sender_of
from midstream.settings import Settings
from midstream.testing.in_process import serving


class Begun:
    """An app that notes in which order it is called, and answers nothing of note."""

    def __init__(self) -> None:
        self.senders: list[str] = []
        self.paths: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for step in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{step}.complete"})
            return
        self.senders.append(dict(scope["headers"]).get(b"authorization", b"").decode())
        self.paths.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


def request(sender: str, path: str = "/", method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {sender}\r\n\r\n".encode()


async def order_of(settings: Settings, *requests: bytes) -> Begun:
    """Send requests by a connection each, all of them in one turn, and return what has begun in which order."""
    app = Begun()
    async with serving(settings, app) as url, AsyncExitStack() as stack:
        address = url.removeprefix("http://").split(":")
        connections = []
        loop = asyncio.get_running_loop()
        for _ in requests:
            connection = stack.enter_context(closing(socket.socket()))
            connection.setblocking(False)  # noqa: FBT003
            await loop.sock_connect(connection, (address[0], int(address[1])))
            await loop.sock_sendall(connection, request("opening"))
            await loop.sock_recv(connection, 65_536)
            connections.append(connection)
        app.senders.clear()
        app.paths.clear()
        for connection, content in zip(connections, requests, strict=True):
            connection.send(content)  # the loop does not turn meanwhile
        for connection, content in zip(connections, requests, strict=True):
            answered = b""
            while answered.count(b"\r\n\r\nok") < content.count(b"HTTP/1.1"):
                answered += await loop.sock_recv(connection, 65_536)
    return app


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_crowd_of_one_sender_does_not_keep_another_waiting(settings: Settings, method: str) -> None:
    """Limits/Turns."""
    crowd = [request("loud", method=method)] * 200
    begun = await order_of(settings, *crowd, request("quiet", method=method))
    assert begun.senders.count("loud") == 200
    assert begun.senders.index("quiet") <= 2 * MOST  # what began in its turn, and one of the crowd in the next


async def test_senders_take_turns(settings: Settings) -> None:
    """Limits/Turns."""
    begun = await order_of(settings, *[request("a")] * 60, *[request("b")] * 20, *[request("c")] * 20)
    waited = begun.senders[2 * MOST :]
    assert set(waited[:3]) == {"a", "b", "c"}
    assert all(abs(waited[:45].count(one) - 15) <= MOST for one in "abc")


async def test_requests_of_one_connection_keep_their_order(settings: Settings) -> None:
    """Limits/Turns; Read/Next."""
    pipelined = b"".join(request("loud", f"/{number}") for number in range(20))
    begun = await order_of(settings, pipelined, *[request("loud", "/other")] * 50, request("quiet", "/other"))
    assert [path for path in begun.paths if path != "/other"] == [f"/{number}" for number in range(20)]


async def test_a_client_that_left_while_its_request_waited_takes_no_turn_for_good(settings: Settings) -> None:
    app = Begun()
    async with serving(settings, app) as url:
        host, port = url.removeprefix("http://").split(":")
        for _ in range(2):
            connections = [await asyncio.open_connection(host, int(port)) for _ in range(50)]
            for _, writer in connections:
                writer.write(request("loud"))
                writer.transport.abort()
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request("quiet"))
        async with asyncio.timeout(5):
            assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        writer.close()


def scope_of(*headers: tuple[bytes, bytes]) -> Scope:
    return {"method": "POST", "headers": headers, "client": ("192.0.2.1", 1)}


async def test_a_turn_has_a_bound_and_senders_without_number_keep_nobody_waiting() -> None:
    """Limits/Turns: also where each request names another credential, and new ones come all the time."""
    turns, begun = Turns(), []
    before, numbers = 300, itertools.count()

    def ask() -> None:
        number = next(numbers)
        if turns.admits("POST"):
            begun.append(number)
        else:
            turns.put_off(scope_of((b"authorization", b"%d" % number)), lambda: begun.append(number))

    for _ in range(before):
        ask()
    assert len(begun) == MOST // WEIGHTS["POST"]
    while len(begun) < 2 * before:
        had = len(begun)
        await asyncio.sleep(0)
        assert len(begun) - had <= MOST // WEIGHTS["POST"]
        ask()  # for each that has begun
    assert begun == [*range(2 * before)]


def test_a_sender_is_one_whatever_stands_beside_its_credential() -> None:
    """Limits/Turns: a cookie that is another one each time is no new sender, and blanks are none."""
    key, cookie = (b"authorization", b"Bearer key"), (b"cookie", b"a=1")
    of_key = sender_of(scope_of(key))
    assert sender_of(scope_of(cookie, key)) == sender_of(scope_of((b"authorization", b"Bearer   key"))) == of_key
    assert (
        len({of_key, sender_of(scope_of(cookie)), sender_of(scope_of((b"x-api-key", b"k"))), sender_of(scope_of())})
        == 4
    )
