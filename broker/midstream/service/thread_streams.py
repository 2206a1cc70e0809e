"""The streams of one thread, as a tail of the thread reads them."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

import orjson

from midstream.access.grant import Grant
from midstream.hub.lagging import Lagging
from midstream.hub.thread_waits import ThreadWait
from midstream.log.entries import Json
from midstream.log.registry import Listed
from midstream.requests.conversation import new_messages
from midstream.service.caller_follower import CallerFollower
from midstream.service.caller_streams import CallerStreams
from midstream.service.resources import Resources

MARKER_BYTES: Final = 262_144
"""Larger messages are in no marker; `GET /v1/threads/{thread}` shows them."""


@dataclass(frozen=True, slots=True)
class ThreadPlace:
    """How far a client has read a thread: to the end of the streams up to a place, or to an offset of a stream."""

    at: int
    stream_id: str | None = None
    after: int = 0


class ThreadStreams:
    """One thread of a caller's. Whatever asks Redis raises `LogUnavailable` where it does not answer."""

    def __init__(self, resources: Resources, grant: Grant, streams: CallerStreams, thread: str) -> None:
        self._resources = resources
        self._grant = grant
        self._streams = streams
        self._thread = thread
        self.lagging: Lagging = resources.hub.lagging
        self.heartbeat_s = resources.settings.heartbeat_ms / 1000

    async def next(self, at: int) -> Listed | None:
        """Return the first stream after a place; None where there is none yet."""
        rows = await self._resources.threads.next(self._grant.owner, self._thread, at, 1)
        return rows[0] if rows else None

    async def facts(self, stream_id: str) -> Json:
        """Return what a marker says of a stream that begins; it is the same at each reading.

        Raises:
            StreamAbsent: There is no such stream any more.
        """
        stream = await self._streams.find(stream_id)
        messages: list[Json] | None = new_messages((await stream.request()).as_messages())
        if len(orjson.dumps(messages)) > MARKER_BYTES:
            messages = None
        return {"model": stream.state.model, "created_ms": stream.state.created_ms, "messages": messages}

    async def outcome(self, stream_id: str) -> str:
        """Return the outcome of a stream that has ended; raises as `facts`."""
        return (await self._streams.find(stream_id)).state.outcome

    def follow(self, stream_id: str, after: int) -> CallerFollower:
        """Return a context that holds a stream's follower; see `CallerStreams.follow`."""
        return self._streams.follow(stream_id, after)

    def pass_to(self, grant: Grant, streams: CallerStreams) -> Grant | None:
        """Go on by a newer credential, and return what the ends of tails depend on from now on."""
        self._grant = grant
        self._streams = streams
        return self._resources.grant_ends.watched(grant)

    def open_wait(self) -> ThreadWait:
        """Return a wait for the thread's next streams, which the caller closes."""
        channel = self._resources.threads.channel(self._grant.owner, self._thread)
        return self._resources.hub.thread_waits.open(channel, self._resources.grant_ends.watched(self._grant))

    def close_wait(self, wait: ThreadWait) -> None:
        """Forget a wait."""
        self._resources.hub.thread_waits.close(wait)

    def listening(self, wait: ThreadWait) -> AbstractAsyncContextManager[None]:
        """Return a context in which a wait is told of each new stream."""
        return self._resources.hub.thread_waits.listening(wait)

    def count(self, tails: int) -> None:
        """Count so many tails more."""
        tenant_tails = self._resources.hub.tenant_tails
        (tenant_tails.add if tails > 0 else tenant_tails.remove)(self._grant.tenant)
