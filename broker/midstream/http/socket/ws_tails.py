"""The tails of one WebSocket, of streams and of threads (PROTOCOL: Ws/Messages, Ws/Threads)."""

from collections.abc import Callable
from typing import Any, Final, Literal

from midstream import counters
from midstream.faces.objects import ObjectsFace
from midstream.faces.thread_objects import ThreadObjectsFace
from midstream.http.problems import Problem
from midstream.http.socket.ws_messages import Follow, FollowThread, Leave, LeaveThread, Tailing
from midstream.http.socket.ws_socket import Outbox, SocketSink, TailName
from midstream.http.thread_cursor import read_thread_cursor
from midstream.service.caller import Caller

OBJECTS: Final = ObjectsFace()


class SocketTails:
    """Begins and ends the tails of a socket, at most `limit` at once. `left` is called when one has closed by itself.

    Attributes:
        sinks: What each tail writes to, by what it reads.
    """

    def __init__(self, outbox: Outbox, limit: int, left: Callable[[], None]) -> None:
        self.sinks: dict[TailName, SocketSink] = {}
        self._outbox = outbox
        self._limit = limit
        self._left = left

    async def act(self, caller: Caller, message: Tailing) -> None:
        """Do what a client asks of a tail; raises what the routes of streams and threads raise, and Problem."""
        match message:
            case Follow(id=stream_id, ref=ref):
                await self.follow(caller, message, {"type": "tailing", "id": stream_id, "ref": ref})
            case FollowThread():
                await self._follow_thread(caller, message)
            case Leave(id=name) | LeaveThread(thread=name):
                field: Literal["id", "thread"] = "id" if message.type == "leave" else "thread"
                if sink := self.sinks.pop((field, name), None):
                    sink.drop()
                await self._outbox.answer(**{"type": "closed", field: name, "ref": message.ref})

    async def follow(self, caller: Caller, message: Follow, answer: dict[str, Any]) -> None:
        """Begin to send a stream's entries, after an answer."""
        stream_id, after = message.id, message.after
        name: TailName = ("id", stream_id)
        self.check_room(name)
        async with caller.streams.follow(stream_id, after) as follower:
            if after + 1 < follower.first:
                detail = f"The entries before offset {follower.first} are gone."
                raise Problem(410, "cursor_trimmed", detail, id=stream_id, first_offset=follower.first)
            ahead = after > follower.tail
            join = follower.join_merged if message.catchup == "coalesced" else follower.join
            sink = self._placed(SocketSink(self._outbox, name, join(OBJECTS, after), self._forget))
        await self._outbox.answer(**answer)
        sink.tail.begin(sink, "cursor_ahead" if ahead else None)

    async def _follow_thread(self, caller: Caller, message: FollowThread) -> None:
        """Begin to send what the streams of a thread hold, and what is started in it."""
        name: TailName = ("thread", message.thread)
        self.check_room(name)
        last, merges = read_thread_cursor(message.after), message.catchup == "coalesced"
        tail = await caller.thread(message.thread).tail(ThreadObjectsFace, last, follows=True, merges=merges)
        sink = self._placed(SocketSink(self._outbox, name, tail, self._forget))
        await self._outbox.answer(type="tailing", thread=message.thread, ref=message.ref)
        tail.begin(sink)

    def check_room(self, name: TailName | None = None) -> None:
        """Refuse unless one more tail may begin, or one that takes the place of the tail of that name.

        Raises:
            Problem: 429 `too_many_tails`.
        """
        if name not in self.sinks and len(self.sinks) >= self._limit:
            detail = f"A socket has at most {self._limit} tails (MIDSTREAM_WS_MAX_TAILS)."
            counters.count("limit_exceeded", "socket", "tails")
            raise Problem(429, "too_many_tails", detail, limit=self._limit)

    def drop(self) -> None:
        """End all tails, because the socket is gone, and let go of it: else it would wait for the garbage collector."""
        for sink in tuple(self.sinks.values()):
            sink.drop()
        self.sinks.clear()
        self._left = _nobody_left

    def _placed(self, sink: SocketSink) -> SocketSink:
        previous = self.sinks.get(sink.name)
        self.sinks[sink.name] = sink
        if previous is not None:
            previous.drop()
        return sink

    def _forget(self, sink: SocketSink) -> None:
        if self.sinks.get(sink.name) is sink:
            del self.sinks[sink.name]
            self._left()


def _nobody_left() -> None:
    """Stands for the owner of tails that are over."""
