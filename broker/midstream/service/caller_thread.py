"""One thread of a caller's: its messages, and its end (PROTOCOL: Threads)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

import orjson

from midstream.access.grant import Grant, Scope
from midstream.faces.thread import ThreadFrames
from midstream.log.entries import Json
from midstream.log.errors import LogTrimmed, StreamAbsent, ThreadAbsent
from midstream.log.registry import Listed
from midstream.requests.catalogue import APP, is_app
from midstream.requests.conversation import new_messages
from midstream.requests.model_messages import ModelMessages
from midstream.service.caller_streams import CallerStreams
from midstream.service.resources import Resources
from midstream.service.stream_handle import StreamHandle
from midstream.service.thread_streams import ThreadPlace, ThreadStreams
from midstream.service.thread_tail import ThreadTail

AT_ONCE: Final = 4
"""Streams that are deleted side by side, so that other requests find connections to Redis."""
ROWS: Final = 50
"""Streams that are looked up in one round trip."""


class CallerThread:
    """A thread of one caller's.

    Every method raises `LogUnavailable` when Redis does not answer, `InsufficientScopeError` where the credential lacks
    the scope, whether there is such a thread or not, and `ThreadAbsent` where there is none that it opens.
    """

    __slots__ = ("_grant", "_owner", "_resources", "_streams", "_thread")

    def __init__(self, resources: Resources, grant: Grant, streams: CallerStreams, thread: str) -> None:
        self._resources = resources
        self._grant = grant
        self._owner = grant.owner
        self._streams = streams
        self._thread = thread

    async def page(self, limit: int, before: int | None) -> Json:
        """Return the messages of up to `limit` streams, the last ones before a place (PROTOCOL: Threads/Messages)."""
        self._require(Scope.READ)
        taken: list[_Read] = []
        size_chars, has_more = 0, False
        async for row, stream in self._backwards(before):
            has_more = len(taken) == limit or size_chars >= self._resources.settings.thread_page_chars
            if has_more:
                break
            taken.append(await _read(row, stream))
            size_chars += taken[-1].size_chars
        if not taken and before is None:
            raise ThreadAbsent(self._thread)
        return {
            "id": self._thread,
            "data": [message for each in reversed(taken) for message in each.messages],
            "streams": [each.stream.summary() for each in reversed(taken)],
            "cursor": f"{taken[0].stream.id}.{taken[0].tail}" if taken else None,
            "next_cursor": str(taken[-1].place) if has_more else None,
        }

    async def tail(
        self,
        face_of: Callable[[str], ThreadFrames],
        last: tuple[str, int | None] | None,
        *,
        follows: bool,
        merges: bool = False,
    ) -> ThreadTail:
        """Return a tail of the thread, which sends nothing before it begins, by the face of each stream.

        `last` is what the client has read last: a stream, and an offset of it, None for all of it. Where the tail
        `merges`, what is logged of a stream when it is reached is sent in merged entries.

        Raises:
            LimitExceededError: The tenant has as many tails as it may have in this process.
            TokenExpiredError, UnauthorizedError: The credential has ended meanwhile.
        """
        self._require(Scope.READ)
        async for _ in self._backwards(None):
            break
        else:
            raise ThreadAbsent(self._thread)
        place = ThreadPlace(0) if last is None else await self._place(*last)
        self._streams.require_room()
        self._resources.credentials.check(self._grant)
        thread = ThreadStreams(self._resources, self._grant, self._streams, self._thread)
        return ThreadTail(thread, face_of, place, follows=follows, merges=merges)

    async def delete(self) -> None:
        """Delete all streams that the thread has when this begins, each as by itself, and what apps saved in it."""
        self._require(Scope.STOP)
        streams = [stream async for _, stream in self._backwards(None, Scope.STOP)]
        if not streams:
            raise ThreadAbsent(self._thread)
        room = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(_delete(stream, room) for stream in streams))
        for user, model in {(each.state.user, each.state.model) for each in streams if is_app(each.state.model)}:
            await self._resources.saved.forget_thread(self._grant.tenant, user, model.removeprefix(APP), self._thread)

    async def _place(self, stream_id: str, offset: int | None) -> ThreadPlace | None:
        at = await self._resources.threads.place(self._owner, self._thread, stream_id)
        if at is None:
            return None
        return ThreadPlace(at) if offset is None else ThreadPlace(at, stream_id, offset)

    def _require(self, scope: Scope) -> None:
        self._grant.require(scope)
        if self._grant.stream is not None or self._grant.thread not in (None, self._thread):
            raise ThreadAbsent(self._thread)

    async def _backwards(
        self, before: int | None, scope: Scope = Scope.READ
    ) -> AsyncIterator[tuple[Listed, StreamHandle]]:
        """Yield the thread's streams, the last one first; those that have expired are taken off its lists."""
        threads = self._resources.threads
        while rows := await threads.last(self._owner, self._thread, before, ROWS):
            before = rows[-1].created_ms
            streams = await self._streams.find_each([row.stream_id for row in rows], scope)
            expired = [row.stream_id for row, stream in zip(rows, streams, strict=True) if stream is None]
            await threads.drop(self._owner, self._thread, expired)
            for row, stream in zip(rows, streams, strict=True):
                if stream is not None:
                    yield row, stream


@dataclass(frozen=True, slots=True)
class _Read:
    """What a stream adds to its conversation, and the last offset that it is made of."""

    place: int
    stream: StreamHandle
    messages: list[Json]
    tail: int

    @property
    def size_chars(self) -> int:
        return sum(len(orjson.dumps(each)) for each in self.messages)


async def _read(row: Listed, stream: StreamHandle) -> _Read:
    model, messages = ModelMessages(), []
    try:
        async for entry in stream.entries():
            model.add(entry)
        messages = [message | {"offset": 0} for message in new_messages((await stream.request()).as_messages())]
        messages += model.messages()
    except (LogTrimmed, StreamAbsent):
        messages = []  # what is left of an answer is not shown as if it were whole
    return _Read(row.created_ms, stream, [each | {"stream_id": stream.id} for each in messages], model.tail)


async def _delete(stream: StreamHandle, room: asyncio.Semaphore) -> None:
    async with room:
        try:
            await stream.delete()
        except StreamAbsent:  # it has expired, or another request has deleted it
            return
