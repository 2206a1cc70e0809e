"""A till outside: a process that pays out when it is asked, as often as it is asked, and keeps its own books.

It takes lines of JSON on a TCP port of loopback. Of an order whose first request says `hold`, that request is never
answered: `before` it is paid, or `after`.
"""

import asyncio
import json
import sys
from typing import Any

OPEN = "the till is open"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Till:
    """Counts what it pays out, and writes a line for each."""

    def __init__(self) -> None:
        self._orders: set[str] = set()
        self._receipts = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one client."""
        try:
            while line := await reader.readline():
                wish: dict[str, Any] = json.loads(line)
                order = wish["order"]
                hold = wish["hold"] if order not in self._orders else ""
                self._orders.add(order)
                if hold == "before":
                    _say(f"holding {order}")
                    await reader.read()  # until the client is gone: its request was never read
                    return
                self._receipts += 1
                _say(f"paid {order} {self._receipts}")
                if hold == "after":
                    _say(f"holding {order}")
                    await reader.read()
                    return
                writer.write(b"%d\n" % self._receipts)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


async def _serve(port: int) -> None:
    server = await asyncio.start_server(Till().serve, "127.0.0.1", port)
    _say(OPEN)
    await server.serve_forever()


def main() -> None:
    """Serve on the port that is the first argument."""
    asyncio.run(_serve(int(sys.argv[1])))


async def pay(port: int, order: str, hold: str) -> int:
    """Ask the till for money, and return the number of its receipt."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(json.dumps({"order": order, "hold": hold}).encode() + b"\n")
        return int(await reader.readline())
    finally:
        writer.close()
