"""Clients that come at once wait in the kernel, and need not try again. PROTOCOL: Read/Openings."""

import contextlib
import socket
import struct
import sys
from pathlib import Path
from typing import Final

import pytest

from midstream.cli.setup import listen
from midstream.http.app import create_app
from midstream.http.fast_path.server_config import server_config
from midstream.http.listener import BACKLOG
from midstream.settings import Settings

MOST_WAITING: Final = 8 + 5 * 4
"""Where Linux tells in `TCP_INFO` of a listener how many clients may wait: `tcpi_sacked`."""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells it")
def test_as_many_clients_wait_as_the_system_allows() -> None:
    with contextlib.closing(listen("127.0.0.1", 0)) as listener:
        info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    (most,) = struct.unpack_from("I", info, MOST_WAITING)
    assert most == min(BACKLOG, int(Path("/proc/sys/net/core/somaxconn").read_text()))


@pytest.mark.parametrize("fast_path", ["auto", "off"])
def test_the_server_leaves_it_so(fast_path: str) -> None:
    settings = Settings(fast_path=fast_path)
    assert server_config(create_app(settings), settings).backlog == BACKLOG
