"""What one process keeps for its readers is bounded in sum. PROTOCOL: Read/Memory. I9."""

import asyncio
import socket
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from midstream.faces.chat import ChatFace
from midstream.faces.face import Face
from midstream.faces.native import NativeFace
from midstream.faces.responses import ResponsesFace
from midstream.http.app import BrokerApp, create_app
from midstream.hub.frames import CHUNK_BYTES
from midstream.hub.hub import Hub
from midstream.hub.segment import SEGMENT_ENTRIES, Segment
from midstream.hub.window import CHUNKS_SHARE
from midstream.log.connect import connect
from midstream.settings import Settings
from tests import inside, sse
from tests.contract.long_answers import LONG, with_long
from tests.contract.producer_and_sink import WINDOW_BYTES, Producer, RecordingSink
from tests.contract.raw_connections import unread_tail

pytest_plugins = ("tests.contract.hub_on_redis",)

CHAT = {
    "id": "c",
    "trigger": "submit-message",
    "model": "demo/count",
    "messages": [{"id": "1", "role": "user", "parts": [{"type": "text", "text": "x"}]}],
    "params": {"words": 20, "delay_ms": 20},
}


@dataclass(frozen=True)
class NumberedFace(NativeFace):
    """One of many faces, none of which shares its frames."""

    number: int


def kept(hub: Hub) -> int:
    """Return what a hub holds in entries, frames and chunks."""
    segments: list[Segment] = list(hub._window._segments.values())
    return sum(
        sum(len(entry.content) for entry in segment.entries)
        + sum(len(frame) for framing in segment._framings.values() for frame in framing.frames)
        for segment in segments
    ) + chunk_bytes(hub)


def chunk_bytes(hub: Hub) -> int:
    """Return what a hub holds in chunks."""
    chunks = [chunk for follower in hub._followers.values() for chunk in follower.frames._chunks.values()]
    return sum(len(frames) for _, frames, _ in chunks)


async def test_frames_of_every_face_are_counted_in_the_window(hub: Hub, producer: Producer) -> None:
    await producer.write(SEGMENT_ENTRIES * 20)
    faces = [NumberedFace(number) for number in range(12)]
    most: list[int] = []

    class Measuring(RecordingSink):
        def write(self, chunk: bytes) -> None:
            super().write(chunk)
            most.append(kept(hub))

    books = [Measuring() for _ in faces]
    async with hub.follow(producer.id) as follower:
        for face, book in zip(faces, books, strict=True):
            follower.join(face, 0).begin(book)
    await producer.end()
    await asyncio.gather(*(asyncio.wait_for(book.closed.wait(), 30) for book in books))
    assert all(book.ids == list(range(1, producer.tail + 1)) for book in books)
    assert max(most) <= WINDOW_BYTES


async def test_chunks_of_many_faces_are_dropped_where_they_take_too_much(hub: Hub, producer: Producer) -> None:
    await producer.write(SEGMENT_ENTRIES)
    sinks = [RecordingSink() for _ in range(20)]
    most: list[int] = []
    async with hub.follow(producer.id) as follower:
        for number, sink in enumerate(sinks):
            follower.join(NumberedFace(number), 0).begin(sink)
            most.append(chunk_bytes(hub))
            assert hub._window._chunk_bytes == most[-1]
        one = most[0]
        assert one < WINDOW_BYTES // CHUNKS_SHARE < one * len(sinks)
        assert max(most) <= WINDOW_BYTES // CHUNKS_SHARE
        sizes = []
        for count in (3, 200, 1, 150):  # chunks take the places of smaller and larger ones
            await producer.write(count)
            await asyncio.gather(*(sink.until(producer.tail) for sink in sinks))
            sizes.append(chunk_bytes(hub))
            assert hub._window._chunk_bytes == sizes[-1] <= WINDOW_BYTES // CHUNKS_SHARE
        assert len(set(sizes)) > 1
        follower.frames.drop_chunks()
        assert (hub._window._chunk_bytes, chunk_bytes(hub)) == (0, 0)
    await producer.end()
    await asyncio.gather(*(asyncio.wait_for(sink.closed.wait(), 5) for sink in sinks))
    assert all(sink.ids == list(range(1, producer.tail + 1)) for sink in sinks)


@pytest.mark.parametrize(("face", "text_bytes"), [(ResponsesFace("s", 0, "{}"), 107), (ChatFace("s", 0, "m"), 0)])
async def test_text_that_a_face_remembers_is_counted_as_long_as_the_stream_is_read(
    hub: Hub, producer: Producer, face: Face[Any], text_bytes: int
) -> None:
    await producer.write(SEGMENT_ENTRIES * 8)
    sink = RecordingSink()
    async with hub.follow(producer.id) as follower:
        tail = follower.join(face, 0)
        tail.begin(sink)
        async with asyncio.timeout(5):
            while tail.cursor < producer.tail:
                await asyncio.sleep(0)
        follower.frames.drop_chunks()
        window = hub._window
        beside_segments = window.size_bytes - sum(segment.size_bytes for segment in window._segments.values())
        assert beside_segments == pytest.approx(SEGMENT_ENTRIES * 8 * text_bytes, rel=0.02)
        assert window.size_bytes <= WINDOW_BYTES
        tail.close()
    await asyncio.sleep(0)
    assert (hub._followers, window.size_bytes) == ({}, 0)


async def test_a_request_that_frames_repeat_is_counted_with_them(hub: Hub, producer: Producer) -> None:
    """A response repeats its request's instructions, and the face that makes its frames holds them."""
    instructions = "x" * 50_000
    face = ResponsesFace(producer.id, 0, f'{{"model": "m", "instructions": "{instructions}"}}')
    await producer.write(1)
    sink = RecordingSink()
    async with hub.follow(producer.id) as follower:
        tail = follower.join(face, 0)
        tail.begin(sink)
        follower.frames.drop_chunks()
        frames_bytes = sum(map(len, sink.chunks))
        assert hub._window.size_bytes >= frames_bytes + len(instructions)
        tail.close()


async def test_a_window_too_small_for_one_page_lets_every_tail_go_on(redis_url: str, producer: Producer) -> None:
    await producer.write(SEGMENT_ENTRIES * 8)
    client = connect(redis_url, 2, 8)
    hub = Hub(producer.log, client, window_bytes=1_000, heartbeat_ms=60_000, timeout_s=2)
    await hub.start()
    books = [RecordingSink() for _ in range(3)]
    async with hub.follow(producer.id) as follower:
        for number, book in enumerate(books):
            follower.join(NativeFace(), number * SEGMENT_ENTRIES).begin(book)
    await producer.end()
    await asyncio.gather(*(asyncio.wait_for(book.closed.wait(), 10) for book in books))
    assert [book.ids[0] for book in books] == [1, 1 + SEGMENT_ENTRIES, 1 + 2 * SEGMENT_ENTRIES]
    assert all(book.ids == list(range(book.ids[0], producer.tail + 1)) for book in books)
    await hub.stop()
    await client.aclose()


async def test_a_chunk_of_long_entries_is_no_longer_than_others(hub: Hub, producer: Producer) -> None:
    entry = b"t" + b"x" * 20_000
    producer.tail = await producer.log.append(producer.id, producer.fence, producer.tail, [entry] * 100)
    book = RecordingSink()
    async with hub.follow(producer.id) as follower:
        follower.join(NativeFace(), 0).begin(book)
    await producer.end()
    await asyncio.wait_for(book.closed.wait(), 5)
    assert book.ids == list(range(1, producer.tail + 1))
    assert max(map(len, book.chunks)) < CHUNK_BYTES + 2 * len(entry)


async def test_a_client_that_names_ever_new_majors_makes_no_new_faces(settings: Settings) -> None:
    app = create_app(settings)
    async with inside.worker(settings), inside.served(settings, app) as client:
        asking = asyncio.create_task(client.post("/api/chat", json=CHAT))
        majors = ["5", "7", *map(str, range(1_000, 1_020)), "9" * 5_000]
        hub = _hub_of(app)
        async with asyncio.timeout(5):
            while not hub.tails:
                await asyncio.sleep(0.001)
        requests = (client.get("/api/chat/c/stream", headers={"AI-SDK-Major": major}) for major in majors)
        answers, most = await asyncio.gather(asyncio.gather(*requests), _most_faces(hub, asking))
        assert [answer.status_code for answer in answers] == [200] * len(majors)
        assert 1 <= most <= 3


def _hub_of(app: BrokerApp) -> Hub:
    services = app.services
    return services._resources.hub


async def _most_faces(hub: Hub, asking: "asyncio.Task[httpx2.Response]") -> int:
    most = 0
    while not asking.done():
        most = max([most, *(len(segment._framings) for segment in hub._window._segments.values())])
        await asyncio.sleep(0.005)
    return most


@pytest.mark.both_ways
async def test_what_is_on_its_way_to_deaf_clients_is_bounded_in_sum(settings: Settings) -> None:
    limit_bytes = 1_000_000  # 20 transports hold 64 KiB each, before their last chunk
    bounded = with_long(settings, unsent_bytes=limit_bytes)
    app = create_app(bounded)
    async with inside.worker(bounded), inside.served(bounded, app) as client:
        stream_id = (await client.post("/v1/streams", json=LONG)).json()["id"]
        await client.get(f"/v1/streams/{stream_id}", params={"wait": 20})
        connections: list[socket.socket] = []
        for _ in range(20):
            connections.append(await unread_tail(client, stream_id))
            await asyncio.get_running_loop().sock_recv(connections[-1], 1)
        hub = _hub_of(app)
        async with asyncio.timeout(10):
            while not 0 < hub.tails < 20:
                await asyncio.sleep(0.01)
        assert hub.lagging.size_bytes <= limit_bytes
        events = await sse.tail(client, stream_id)
        assert [event.id for event in events] == list(range(1, len(events) + 1))
        for connection in connections:
            connection.close()
        async with asyncio.timeout(10):
            while hub.tails:
                await asyncio.sleep(0.01)
        assert hub.lagging.size_bytes == 0
