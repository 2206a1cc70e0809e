"""What the tests of the hub share: a producer that appends by hand, and a sink that writes everything down."""

import asyncio

from midstream.faces.native import NativeFace
from midstream.hub.hub import Hub
from midstream.hub.tail import Tail
from midstream.log import entries
from midstream.log.entries import Entry, encode
from midstream.log.keys import new_id
from midstream.log.log import Log
from midstream.log.values import Ending, Fence
from tests.contract.new_streams import create

WINDOW_BYTES = 400_000
END = encode(Entry(entries.END, {"outcome": "completed"}))
FACE = NativeFace()


class RecordingSink:
    """A sink that writes everything down, and can be busy."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.ready = True
        self.closed = asyncio.Event()
        self.written = asyncio.Event()

    def write(self, chunk: bytes) -> None:
        self.chunks.append(chunk)
        self.written.set()

    def close(self) -> None:
        self.closed.set()

    @property
    def ids(self) -> list[int]:
        lines = b"".join(self.chunks).split(b"\n")
        return [int(line[4:]) for line in lines if line.startswith(b"id: ")]

    async def until(self, offset: int) -> None:
        async with asyncio.timeout(5):
            while offset not in self.ids:
                self.written.clear()
                await self.written.wait()


class Producer:
    """Appends to one stream."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.id = new_id()
        self.fence = Fence(0, "")
        self.tail = 0

    async def begin(self) -> None:
        await create(self.log, self.id)
        claim = await self.log.claim(self.id, "me", 60_000)
        self.fence, self.tail = claim.fence, claim.state.tail

    async def write(self, count: int) -> None:
        for start in range(0, count, 500):
            batch = [b"tx" for _ in range(min(500, count - start))]
            self.tail = await self.log.append(self.id, self.fence, self.tail, batch)

    async def end(self) -> None:
        self.tail = await self.log.seal(self.id, self.fence, self.tail, Ending([END], "completed"))


async def join(hub: Hub, stream_id: str, after: int = 0) -> tuple[RecordingSink, Tail]:
    book = RecordingSink()
    async with hub.follow(stream_id) as follower:
        tail = follower.join(FACE, after)
    tail.begin(book)
    return book, tail
