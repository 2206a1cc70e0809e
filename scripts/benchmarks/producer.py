"""Appends at a pace: a stand-in for many workers in one lean process.

It creates and claims streams by `broker.log`, then sends the log's own append script without waiting for each
answer (or bare XADDs, for the obvious way), so that it is not what is measured. `python -m
scripts.benchmarks.producer URL KIND STREAMS SIZE` prints the ids as JSON; then each line `ENTRIES RATE` on stdin has
it append so many entries to each stream at that rate per second (0: as fast as it goes), and `end` seals all streams;
each is answered by a line when it is done.
"""

import asyncio
import hashlib
import json
import socket
import sys
import time
from pathlib import Path
from subprocess import Popen
from typing import Any, Final
from urllib.parse import urlsplit

import hiredis

import broker.log
from broker.ending import end_entry
from broker.log.connect import connect
from broker.log.entries import encode
from broker.log.keys import Keys, new_id
from broker.log.log import Fence, Log
from scripts.benchmarks.load import STAMP_DIGITS
from scripts.benchmarks.rig import Rig

PREFIX: Final = "ms"
TICK_S: Final = 0.001
UNPACED: Final = 256
"""Commands on their way at once when there is no pace to keep."""
LEASE_MS: Final = 3_600_000
TTL_S: Final = 3_600
APPEND: Final = (Path(broker.log.__path__[0]) / "lua" / "append.lua").read_text()
MIDSTREAM: Final = "midstream"
XADD: Final = "xadd"


class Producer:
    """The producer's process, as a benchmark sees it."""

    def __init__(self, rig: Rig, kind: str, streams: int, size: int = 32) -> None:
        arguments = ["scripts.benchmarks.producer", rig.redis_url, kind, str(streams), str(size)]
        self._process: Popen[bytes] = rig.spawn("producer", arguments, {}, piped=True)
        self.streams: list[str] = json.loads(self._answer())

    def begin(self, entries: int, rate: float) -> None:
        """Have it append to each stream; `finish` waits for it."""
        self._tell(f"{entries} {rate}")

    def finish(self) -> float:
        """Wait until all is appended; return by how much it was late at worst, in ms."""
        return float(self._answer())

    def append(self, entries: int) -> None:
        """Append as fast as it goes."""
        self.begin(entries, 0)
        self.finish()

    def end(self) -> None:
        """Seal all streams."""
        self._tell("end")
        self._answer()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None  # noqa: S101
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def _answer(self) -> bytes:
        assert self._process.stdout is not None  # noqa: S101
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the producer has gone")
        return line


class _Appender:
    """One connection on which appends are pipelined; what is the same in each command is packed once."""

    def __init__(self, url: str, kind: str, size: int) -> None:
        where = urlsplit(url)
        self._socket = socket.create_connection((where.hostname, where.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._replies = hiredis.Reader()
        self._due = 0
        self._kind = kind
        self._fill = b"x" * max(0, size - STAMP_DIGITS - 2)
        self._keys = Keys(PREFIX)
        self._sha = hashlib.sha1(APPEND.encode(), usedforsecurity=False).hexdigest()
        self._send([hiredis.pack_command(("SCRIPT", "LOAD", APPEND))])
        self._take_replies(0)
        self.tails: dict[str, int] = {}
        self._packed: dict[str, tuple[bytes, bytes]] = {}

    def take(self, stream: str, fence: Fence, tail: int) -> None:
        """Append to this stream, too, from behind `tail`."""
        self.tails[stream] = tail
        keys = self._keys
        if self._kind == XADD:
            words: tuple[tuple[Any, ...], ...] = (("XADD", f"bench:{stream}"), ("e",))
        else:
            place = (keys.state(stream), keys.log(stream), fence.epoch, fence.owner)
            words = (("EVALSHA", self._sha, 2, *place), (keys.channel(stream), "", "", 0))
        before, behind = (b"".join(map(_packed, part)) for part in words)
        count = sum(map(len, words)) + 2  # the tail or id, and the text
        self._packed[stream] = (b"*%d\r\n%b" % (count, before), behind)

    def append(self, entries: int, rate: float) -> float:
        """Append to all streams in turn; return by how much it was late at worst, in ms."""
        streams = list(self.tails)
        total, sent, late_s = entries * len(streams), 0, 0.0
        per_s = rate * len(streams)
        began_s = time.monotonic()
        while sent < total:
            now_s = time.monotonic()
            due = min(total, int((now_s - began_s) * per_s) + 1) if rate else min(total, sent + UNPACED)
            if due > sent:
                late_s = max(late_s, now_s - began_s - sent / per_s if rate else 0.0)
                self._send([self._command(streams[number % len(streams)]) for number in range(sent, due)])
                sent = due
            # At a pace, replies are taken as they lie there: no wake-up for each.
            self._take_replies(UNPACED if rate else 0)
            if rate:
                next_s = began_s + sent / per_s
                time.sleep(max(TICK_S, next_s - time.monotonic()))
        self._take_replies(0)
        return late_s * 1000

    def _command(self, stream: str) -> bytes:
        before, behind = self._packed[stream]
        tail = self.tails[stream]
        self.tails[stream] = tail + 1
        text = b"@%0*d %b" % (STAMP_DIGITS, time.monotonic_ns(), self._fill)
        if self._kind == XADD:
            return b"".join((before, _packed(f"{tail + 1}-0"), behind, _packed(text)))
        return b"".join((before, _packed(tail), behind, _packed(b"t" + text)))

    def _send(self, commands: list[bytes]) -> None:
        self._socket.sendall(b"".join(commands))
        self._due += len(commands)

    def _take_replies(self, left: int) -> None:
        """Take what has been answered; wait until no more than `left` answers are due."""
        while self._due:
            try:
                self._replies.feed(self._socket.recv(65_536, 0 if self._due > left else socket.MSG_DONTWAIT))
            except BlockingIOError:
                return
            while (reply := self._replies.gets()) is not False:
                if isinstance(reply, Exception) or (isinstance(reply, list) and reply[0] != b"ok"):
                    raise RuntimeError(f"an append was refused: {reply!r}")
                self._due -= 1


def _packed(word: str | bytes | int) -> bytes:
    """Return one word of a command as it goes over the wire."""
    if not isinstance(word, bytes):
        word = str(word).encode()
    return b"$%d\r\n%b\r\n" % (len(word), word)


async def _claimed(url: str, streams: int) -> dict[str, tuple[Fence, int]]:
    redis = connect(url, 30.0, 4)
    log = Log(redis, PREFIX)
    tails: dict[str, tuple[Fence, int]] = {}
    fields = {"tenant": "bench", "model": "bench", "ttl_s": TTL_S, "request": '{"input":"bench"}'}
    for _ in range(streams):
        stream = new_id()
        await log.create(stream, "bench", fields)
        fence, tail, *_ = await log.claim(stream, "bench", LEASE_MS)
        tails[stream] = fence, tail
    await redis.aclose()
    return tails


async def _seal(url: str, tails: dict[str, tuple[Fence, int]]) -> None:
    redis = connect(url, 30.0, 4)
    log = Log(redis, PREFIX)
    for stream, (fence, tail) in tails.items():
        state = await log.state(stream)
        assert state is not None  # noqa: S101
        end = encode(end_entry("completed", state=state, now_ms=state.started_ms))
        await log.seal(stream, fence, tail, [end], "completed", TTL_S)
    await redis.aclose()


def main(url: str, kind: str, streams: str, size: str) -> None:
    """Do what stdin says until it is closed."""
    appender = _Appender(url, kind, int(size))
    if kind == MIDSTREAM:
        claimed = asyncio.run(_claimed(url, int(streams)))
    else:
        claimed = {new_id(): (Fence(1, ""), 0) for _ in range(int(streams))}
    for stream, (fence, tail) in claimed.items():
        appender.take(stream, fence, tail)
    if kind == XADD:
        appender.append(1, 0)  # what `start` is on a log of ours
    print(json.dumps(list(appender.tails)), flush=True)
    for line in sys.stdin:
        if line.strip() == "end":
            asyncio.run(_seal(url, {stream: (claimed[stream][0], tail) for stream, tail in appender.tails.items()}))
            print(0, flush=True)
        else:
            entries, rate = line.split()
            print(appender.append(int(entries), float(rate)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
