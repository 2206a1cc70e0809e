"""What the kernel takes for the clients of a broker's listener."""

import socket
from typing import Final

UNSENT_BYTES: Final = 131_072
"""Bytes that the kernel accepts for a client in addition to those on their way to it.

Without this limit the kernel accepts 2.8 MB for a client that never reads before the broker can notice.
"""
BACKLOG: Final = 65_535
"""Clients that the kernel keeps until the broker accepts them, of which it takes at most `net.core.somaxconn`.

A client for which there is no room tries again after 1 s: so long 5,000 that came at once had to wait for 2,048 places.
"""


def bound_unsent(listener: socket.socket) -> None:
    """Bound what the kernel accepts for each client of a listener, and let it send without delay.

    Connections inherit both options. asyncio sets the second only on sockets that were made with a protocol number.
    """
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # Linux, macOS
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
