"""Clients that read slowly, or not at all: they are cut, and nobody else notices."""

import asyncio
import random
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from midstream.testing.provider.script import Script
from tests.faults import stage
from tests.faults.family import Family
from tests.faults.rig import SETTINGS, Rig
from tests.faults.trial import MODELS, Trial

SEND_TIMEOUT_S = float(str(SETTINGS["SEND_TIMEOUT_MS"])) / 1000
MARGIN_S = 2.5
RECEIVE_BUFFER = 4_096
SEGMENT = 536
"""Small segments keep the system's own buffers small, and so the stream that fills them short."""
LONG_WORDS = 25_000
UNHARMED_MS = 1_500


def draw(rng: random.Random, number: int) -> dict[str, Any]:
    """One case of twelve is long enough to fill every buffer; the others go on beside it."""
    if number % 12 == 0:
        script = Script(words=LONG_WORDS, unicode=True)
    else:
        script = Script(words=rng.randint(60, 120), delay_ms=30)
    return {"model": MODELS[1], "script": script, "point": "long" if number % 12 == 0 else "beside"}


async def run(rig: Rig, trials: Sequence[Trial]) -> None:
    """Have clients that never read on the long streams, and watch the pauses of those that do."""
    await rig.worker()
    for trial in trials:
        await stage.post(rig, trial)
    long = [trial for trial in trials if trial.case.point == "long"]
    await stage.until(rig, long, stage.ended, 20)
    began_s, before = time.monotonic(), rig.starved_ms()
    sockets = [_never_read(rig, trial) for trial in long]
    for trial in trials:
        stage.read(rig, trial)
    limit_s = SEND_TIMEOUT_S + MARGIN_S
    try:
        for trial, client in zip(long, sockets, strict=True):
            limit_s = SEND_TIMEOUT_S + MARGIN_S + rig.starved_since(before) / 1000
            await asyncio.to_thread(_until_cut, client, began_s + limit_s)
            got = await asyncio.to_thread(_drain, client)
            if b"event: end\n" in got:
                trial.breaks("a client that never read was sent everything: the stream is too short for this test")
    except TimeoutError:
        long[0].breaks(f"a client that never reads was not cut within {limit_s:.1f} s")
    finally:
        for client in sockets:
            client.close()
    await stage.settle(rig, trials, limit_s=30)
    starved_ms = rig.starved_since(before)
    for trial in trials:
        pause_ms = max((reader.longest_pause_ms for reader in trial.readers), default=0)
        if trial.case.point == "beside" and pause_ms > UNHARMED_MS + starved_ms:
            trial.breaks(f"a client beside waited {pause_ms:.0f} ms, {starved_ms:.0f} ms of it without a CPU")


def _never_read(rig: Rig, trial: Trial) -> socket.socket:
    address = urlsplit(rig.urls[0])
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
    client.connect((address.hostname, address.port))
    client.sendall(f"GET /v1/streams/{trial.stream_id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return client


def _until_cut(client: socket.socket, deadline_s: float) -> None:
    """Wait, without reading, until the peer has given the connection up, as the system's table says.

    Raises:
        TimeoutError: It has not.
    """
    port = f":{client.getsockname()[1]:04X}"
    while time.monotonic() < deadline_s:
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        theirs = [row for row in rows if row[2].endswith(port)]
        # Not established any more (01): closed, reset, or waiting for the kernel to flush what was written before.
        if all(row[3] != "01" for row in theirs):
            return
        time.sleep(0.05)
    raise TimeoutError


def _drain(client: socket.socket) -> bytes:
    client.settimeout(2.0)
    got = b""
    try:
        while data := client.recv(1_048_576):
            got += data
    except OSError:
        pass
    return got


FAMILIES = (Family("client-never-reads", 24, 12, draw, run),)
