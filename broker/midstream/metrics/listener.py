"""Where Prometheus reads a process: one path on a port of its own (PROTOCOL: Metrics/Listener)."""

import asyncio
import contextlib
import gzip
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Final

from midstream.access.host_names import host_name, is_rebindable
from midstream.metrics.catalogue import Role
from midstream.metrics.page import CONTENT_TYPE, Page, Readings

logger = logging.getLogger(__name__)

PATH: Final = "/metrics"
KEEP_S: Final = 1.0
"""A page is made at most this often, however many ask for it, so that no scrapes load Redis or the loop."""
MAX_CONNECTIONS: Final = 8
HEAD_BYTES: Final = 8_192
EXCHANGE_S: Final = 5.0
"""The longest time from a connection to the last byte of its answer."""
GZIP_LEVEL: Final = 1


class MetricsListener:
    """Answers one request of each connection, from the process' own loop.

    There is one for each process, and Prometheus adds them up. The library's way of several processes writes each
    count to a file that the processes share, so that each of them can add them up: counting costs a multiple of
    what it costs here, nothing can be read at the time of a scrape, and a process that was started again leaves files.

    Args:
        role: What the process is.
        read: Reads what is measured at a scrape. It bounds its own waits.
        own_hosts: Names by which the process may be reached besides addresses, loopback and names of a single word.
    """

    def __init__(
        self, role: Role, read: Callable[[], Awaitable[Readings]], own_hosts: frozenset[str] = frozenset()
    ) -> None:
        self._own_hosts = own_hosts
        self._page = Page(role)
        self._read = read
        self._text = b""
        self._made_s = -KEEP_S
        self._making = asyncio.Lock()
        self._connections = 0
        self._server: asyncio.Server | None = None

    async def start(self, listener: socket.socket) -> None:
        """Begin to answer on a listening socket."""
        self._server = await asyncio.start_server(self._serve, sock=listener, limit=HEAD_BYTES)

    async def stop(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.close()

    async def text(self) -> bytes:
        """Return the page, which may be `KEEP_S` old."""
        async with self._making:
            if time.monotonic() - self._made_s >= KEEP_S:
                self._text = self._page.text(await self._read())
                self._made_s = time.monotonic()
            return self._text

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= MAX_CONNECTIONS:
                async with asyncio.timeout(EXCHANGE_S):
                    writer.write(await self._answer(await reader.readuntil(b"\r\n\r\n")))
                    await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            logger.debug("a connection for metrics has failed: %r", error)
        except Exception:
            logger.exception("the metrics could not be shown")
        finally:
            self._connections -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, head: bytes) -> bytes:
        request, *lines = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        host = fields.get("host")
        if host is not None and is_rebindable(host) and host_name(host) not in self._own_hosts:
            return _response("421 Misdirected Request", b"List this host in MIDSTREAM_ALLOWED_HOSTS.\n")
        method, _, rest = request.partition(" ")
        if rest.partition(" ")[0].partition("?")[0] != PATH:
            return _response("404 Not Found", b"Metrics are at /metrics.\n")
        if method != "GET":
            return _response("405 Method Not Allowed", b"", "Allow: GET")
        page, headers = await self.text(), [f"Content-Type: {CONTENT_TYPE}", "Vary: Accept-Encoding"]
        if "gzip" in fields.get("accept-encoding", ""):  # a tenth of it: the names of labels are most of a page
            page = gzip.compress(page, GZIP_LEVEL, mtime=0)
            headers.append("Content-Encoding: gzip")
        return _response("200 OK", page, *headers)


def _response(status: str, body: bytes, *headers: str) -> bytes:
    lines = (f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "Connection: close", "", "")
    return "\r\n".join(lines).encode() + body
