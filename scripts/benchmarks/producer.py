"""Appends at a pace: a stand-in for many workers in one lean process.

It creates and claims streams by `midstream.log`, then sends the log's own append script without waiting for each
answer (or bare XADDs, for the obvious way), so that it is not what is measured. `python -m
scripts.benchmarks.producer URL KIND STREAMS SIZE` prints the ids as JSON; then each line `ENTRIES RATE` on stdin has
it append so many entries to each stream at that rate per second (0: as fast as it goes), and `end` seals all streams;
each is answered by a line when it is done.
"""

import asyncio
import hashlib
import json
import sys
import time
from subprocess import Popen
from typing import TYPE_CHECKING, Any, Final

import hiredis

from midstream.lifecycle.ending import end_entry
from midstream.log.calls import SOURCES, Append
from midstream.log.cluster_keys import ClusterKeys
from midstream.log.cluster_words import own_source
from midstream.log.connect import connect
from midstream.log.entries import encode
from midstream.log.keys import UNNAMED_TENANT, Keys, id_of, new_id, stream_name
from midstream.log.log import Log
from midstream.log.values import Ending, Fence, NewStream
from midstream.redis_address import ClusterAddress
from scripts.benchmarks.nchan import Publisher
from scripts.benchmarks.pipeline import Pipeline

if TYPE_CHECKING:  # it imports the providers' SDKs, which take seconds, and the producer's process needs none of it
    from scripts.benchmarks.rig import Rig

PREFIX: Final = "ms"
TENANT: Final = "bench"
TICK_S: Final = 0.001
STAMP_DIGITS: Final = 16
"""A text begins with `@` and the time at which it was appended: nanoseconds of the monotonic clock."""
UNPACED: Final = 256
"""Commands on their way at once when there is no pace to keep."""
LEASE_MS: Final = 3_600_000
LOOK_MS: Final = 10_000
"""Reapers look at a stream as early as at one that a worker holds."""
TTL_S: Final = 3_600
AFTER_MS: Final = 60_000
"""The time of each entry, in ms after its stream was created."""
OPEN: Final = -1
"""Stands for the tail, which is another one in each append."""
APPEND: Final = SOURCES["append"]
MIDSTREAM: Final = "midstream"
UNNAMED: Final = "unnamed"
"""midstream too, for a broker without keys."""
XADD: Final = "xadd"
NCHAN: Final = "nchan"


class Producer:
    """The producer's process, as a benchmark sees it."""

    def __init__(self, rig: "Rig", kind: str, streams: int, size: int = 32, url: str = "") -> None:
        arguments = [
            "scripts.benchmarks.producer",
            url or (rig.redis_url if kind == XADD else rig.log_url),
            kind,
            str(streams),
            str(size),
        ]
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


class _Redis(Pipeline):
    """Appends by the log's script, or by bare XADDs; what is the same in each command is packed once."""

    def __init__(self, url: str, claimed: dict[str, tuple[Fence, int]] | None, *, is_of_cluster: bool) -> None:
        super().__init__(url)
        self._replies = hiredis.Reader()
        self._packed: dict[str, tuple[bytes, bytes]] = {}
        self._claimed = claimed
        self._keys = ClusterKeys(PREFIX) if is_of_cluster else Keys(PREFIX)
        source = own_source(APPEND) if is_of_cluster else APPEND
        self._sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
        self.send([hiredis.pack_command(("SCRIPT", "LOAD", source))])  # type: ignore[arg-type]
        self.take_answers(0)

    def command(self, stream: str, offset: int, text: bytes) -> bytes:
        """Return an append, or an XADD."""
        if stream not in self._packed:
            self._packed[stream] = self._pack(stream)
        before, after = self._packed[stream]
        if self._claimed is None:
            return b"".join((before, _packed(f"{offset}-0"), after, _packed(text)))
        return b"".join((before, _packed(offset - 1), after, _packed(b"t" + text)))

    def answered(self, data: bytes) -> int:
        """Count the replies."""
        self._replies.feed(data)
        count = 0
        while (reply := self._replies.gets()) is not False:
            if isinstance(reply, Exception) or (isinstance(reply, list) and reply[0] != b"ok"):
                raise RuntimeError(f"an append was refused: {reply!r}")
            count += 1
        return count

    def _pack(self, stream: str) -> tuple[bytes, bytes]:
        keys = self._keys
        if self._claimed is None:
            words: tuple[tuple[Any, ...], ...] = (("XADD", f"bench:{stream}"), ("e",))
        else:
            fence, _ = self._claimed[stream]
            call = Append(
                state=keys.state(stream),
                log=keys.log(stream),
                epoch=fence.epoch,
                owner=fence.owner,
                expected_tail=OPEN,
                channel=keys.channel(stream),
                tail_ms=AFTER_MS,
                entries=[],
            )
            its_keys, arguments = call.words()
            place = arguments.index(OPEN)
            words = (
                ("EVALSHA", self._sha, len(its_keys), *its_keys, *arguments[:place]),
                tuple(arguments[place + 1 :]),
            )
        before, after = (b"".join(map(_packed, part)) for part in words)
        return b"*%d\r\n%b" % (sum(map(len, words)) + 2, before), after  # the tail or id, and the text


class _Appender:
    """Appends to all its streams in turn, at a pace."""

    def __init__(self, pipeline: Pipeline, tails: dict[str, int], size: int) -> None:
        self.tails = tails
        self._pipeline = pipeline
        self._fill = b"x" * max(0, size - STAMP_DIGITS - 2)

    def append(self, entries: int, rate: float) -> float:
        """Append so many to each stream; return by how much it was late at worst, in ms."""
        streams = list(self.tails)
        total, sent, late_s = entries * len(streams), 0, 0.0
        per_s = rate * len(streams)
        began_s = time.monotonic()
        while sent < total:
            now_s = time.monotonic()
            due = min(total, int((now_s - began_s) * per_s) + 1) if rate else min(total, sent + UNPACED)
            if due > sent:
                late_s = max(late_s, now_s - began_s - sent / per_s if rate else 0.0)
                self._pipeline.send([self._command(streams[number % len(streams)]) for number in range(sent, due)])
                sent = due
            # At a pace, answers are taken as they come in: no wake-up for each.
            self._pipeline.take_answers(UNPACED if rate else 0)
            if rate:
                next_s = began_s + sent / per_s
                time.sleep(max(TICK_S, next_s - time.monotonic()))
        self._pipeline.take_answers(0)
        return late_s * 1000

    def _command(self, stream: str) -> bytes:
        self.tails[stream] += 1
        text = b"@%0*d %b" % (STAMP_DIGITS, time.monotonic_ns(), self._fill)
        return self._pipeline.command(stream, self.tails[stream], text)


def _packed(word: str | bytes | int) -> bytes:
    """Return one word of a command as it goes over the wire."""
    if not isinstance(word, bytes):
        word = str(word).encode()
    return b"$%d\r\n%b\r\n" % (len(word), word)


async def _server_url(url: str, stream: str) -> str:
    """Return the URL of the node that holds the streams, which are one tenant's; the URL itself is that of a server."""
    if ClusterAddress.of(url) is None:
        return url
    redis: Any = connect(url, 30.0, 1)
    await redis.ping()
    host, port = redis.owner(ClusterKeys(PREFIX).state(stream))
    await redis.aclose()
    return f"redis://{host}:{port}"


async def _claimed(url: str, streams: int, tenant: str) -> dict[str, tuple[Fence, int]]:
    redis = connect(url, 30.0, 4)
    log = Log(redis, PREFIX)
    tails: dict[str, tuple[Fence, int]] = {}
    new = NewStream(digest="bench", tenant=tenant, model="bench", ttl_s=TTL_S, request=b'{"input":"bench"}')
    for _ in range(streams):
        stream = stream_name(tenant, new_id())
        await log.create(stream, new, look_in_ms=LOOK_MS)
        claim = await log.claim(stream, "bench", LEASE_MS)
        tails[stream] = claim.fence, claim.state.tail
    await redis.aclose()
    return tails


async def _seal(url: str, claimed: dict[str, tuple[Fence, int]], tails: dict[str, int]) -> None:
    redis = connect(url, 30.0, 4)
    log = Log(redis, PREFIX)
    for stream, (fence, _) in claimed.items():
        state = await log.state(stream)
        assert state is not None  # noqa: S101
        end = encode(end_entry("completed", state=state, now_ms=state.started_ms))
        await log.seal(stream, fence, tails[stream], Ending([end], "completed"))
    await redis.aclose()


def main(url: str, kind: str, streams: str, size: str) -> None:
    """Do what stdin says until it is closed."""
    tenant = {MIDSTREAM: TENANT, UNNAMED: UNNAMED_TENANT}.get(kind)
    claimed = asyncio.run(_claimed(url, int(streams), tenant)) if tenant else None
    tails = {stream: tail for stream, (_, tail) in (claimed or {}).items()} or {
        new_id(): 0 for _ in range(int(streams))
    }
    server_url = asyncio.run(_server_url(url, next(iter(tails))))
    redis = None if kind == NCHAN else _Redis(server_url, claimed, is_of_cluster=server_url != url)
    appender = _Appender(redis or Publisher(url), tails, int(size))
    if claimed is None:
        appender.append(1, 0)  # what `start` is on a log of ours
    print(json.dumps(list(map(id_of, tails))), flush=True)
    for line in sys.stdin:
        if line.strip() == "end":
            asyncio.run(_seal(url, claimed or {}, tails))
            print(0, flush=True)
        else:
            entries, rate = line.split()
            print(appender.append(int(entries), float(rate)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
