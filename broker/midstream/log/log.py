"""The durable log of all streams: the only door to their keys.

Every write is one script (`lua/`), so that each invariant is kept or refused in one place. See PROTOCOL.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from midstream.log.entries import Stored, stored_rows
from midstream.log.errors import LeaseHeld, StaleEpoch, StreamAbsent, StreamSealed, TailMismatch
from midstream.log.fence import Fence
from midstream.log.keys import Keys
from midstream.log.many import Many
from midstream.log.scripts import Argument, Scripts, refuse
from midstream.log.state import FIELDS, State

__all__ = ["Fence", "Log"]


@dataclass(frozen=True, slots=True)
class Watched:
    """When a stream was to be looked at next, as of its claim; both are times of the server's clock.

    `due_ms` is None where nobody was to look at it any more.
    """

    now_ms: int
    due_ms: int | None


class Log:
    """All streams under one key prefix of one Redis.

    Every method raises `LogUnavailable` when Redis does not answer, and `StreamAbsent` for a stream that
    does not exist (unless it says that it returns None).
    """

    def __init__(self, redis: Redis, prefix: str) -> None:
        self.keys = Keys(prefix)
        self._scripts = Scripts(redis)
        self.many = Many(self._scripts, self.keys)

    async def create(
        self, stream_id: str, digest: str, fields: Mapping[str, Argument], look_in_ms: int = 5_000
    ) -> int | None:
        """Create a stream and return its time of creation in ms; None if the same start created it before.

        A reaper looks at it in `look_in_ms`, even if we are gone by then (PROTOCOL: Create/Registered).

        Raises:
            IdempotencyMismatch: It exists and was created by another body.
            StreamDeleted: It was deleted and its tombstone stands.
        """
        flat: list[Argument] = [word for pair in fields.items() for word in pair]
        _, answer = await self._scripts.run_in_order(
            # NX: a client that repeats a start would else put off the look at its own lost stream for ever.
            ("watch", [self.keys.due], [look_in_ms, stream_id, "NX"]),
            ("create", [self.keys.state(stream_id)], [digest, *flat]),
        )
        if answer[0] == b"created":
            return int(answer[1])
        if answer[0] == b"found":
            return None
        refuse(stream_id, answer)

    async def claim(self, stream_id: str, owner: str, lease_ms: int) -> tuple[Fence, int, State, bytes, Watched]:
        """Take a queued stream for a new attempt; return its fence, tail, state, the request as JSON, and its watch.

        Raises:
            StaleEpoch: Somebody else holds it.
            StreamSealed: It has ended.
        """
        args: list[Argument] = [owner, lease_ms, self.keys.channel(stream_id), "request", *FIELDS]
        watch: tuple[tuple[Argument, ...], ...] = (("ZSCORE", self.keys.due, stream_id), ("TIME",))
        (due_ms, time), answer = await self._scripts.run_behind(watch, "claim", self._both(stream_id), args)
        if answer[0] != b"ok":
            refuse(stream_id, answer)
        request, *values = answer[1]
        state = State.parse(values)
        assert state is not None  # noqa: S101 - it was claimed in the same script
        watched = Watched(int(time[0]) * 1000 + int(time[1]) // 1000, None if due_ms is None else int(float(due_ms)))
        return Fence(state.epoch, owner), state.tail, state, bytes(request or b"{}"), watched

    async def append(
        self, stream_id: str, fence: Fence, tail: int, contents: Sequence[bytes], *, cursor: int | None = None
    ) -> int:
        """Append stored entries behind `tail` and return the new tail.

        `cursor` is the upstream's position behind these entries.

        Raises:
            StaleEpoch, TailMismatch, StreamSealed, LogFull: Nothing was written.
        """
        return await self._append("append", stream_id, fence, tail, contents, cursor, "", 0)

    async def seal(
        self, stream_id: str, fence: Fence, tail: int, contents: Sequence[bytes], outcome: str, ttl_s: int
    ) -> int:
        """Append the last entries, the terminal one last, and end the stream; return the new tail.

        Raises:
            StaleEpoch, TailMismatch, StreamSealed: Nothing was written.
            LeaseHeld: A fence without an owner (the reaper's) came while an owner holds the lease.
        """
        return await self._append("seal", stream_id, fence, tail, contents, None, outcome, ttl_s * 1000)

    async def _append(
        self,
        script: str,
        stream_id: str,
        fence: Fence,
        tail: int,
        contents: Sequence[bytes],
        cursor: int | None,
        outcome: str,
        ttl_ms: int,
    ) -> int:
        args: list[Argument] = [fence.epoch, fence.owner, tail, self.keys.channel(stream_id)]
        args += ["" if cursor is None else cursor, outcome, ttl_ms, *contents]
        answer = await self._scripts.run(script, self._both(stream_id), args)
        if answer[0] != b"ok":
            refuse(stream_id, answer, tail)
        return int(answer[1])

    async def renew(self, stream_id: str, fence: Fence, lease_ms: int, **notes: Argument) -> bool:
        """Renew the lease, note state fields with it, and return whether a cancel was asked for.

        Raises:
            StaleEpoch, StreamSealed: The lease is lost; the caller must stop.
        """
        flat: list[Argument] = [word for pair in notes.items() for word in pair]
        args: list[Argument] = [fence.epoch, fence.owner, lease_ms, *flat]
        answer = await self._scripts.run("renew", [self.keys.state(stream_id)], args)
        if answer[0] != b"ok":
            refuse(stream_id, answer)
        return bool(answer[1])

    async def release(self, stream_id: str, fence: Fence) -> None:
        """Give a running stream back to the queue; a fence without an owner is the reaper's.

        Raises:
            StaleEpoch, StreamSealed, LeaseHeld: It is not, or no longer, the caller's to give back.
        """
        answer = await self._scripts.run("release", [self.keys.state(stream_id)], [fence.epoch, fence.owner])
        if answer[0] != b"ok":
            refuse(stream_id, answer)

    async def cancel(self, stream_id: str, end: bytes, outcome: str, ttl_s: int) -> bool:
        """Ask for a stop; return whether this call sealed the stream, as it does while it is queued.

        Raises:
            StreamSealed: It has ended already.
        """
        while True:
            message = f"cancel {stream_id}"
            answer = await self._scripts.run("cancel", [self.keys.state(stream_id)], [self.keys.control, message])
            if answer[0] == b"ok":
                return False
            if answer[0] != b"queued":
                refuse(stream_id, answer)
            state = await self.state(stream_id)
            if state is None:
                continue
            try:
                await self.seal(stream_id, Fence(state.epoch, ""), state.tail, [end], outcome, ttl_s)
            except (LeaseHeld, StaleEpoch, TailMismatch):
                continue  # a worker claimed it in between: now it is running, and the flag will reach the worker
            except StreamSealed:
                continue
            return True

    async def delete(self, stream_id: str, tombstone_s: int) -> None:
        """Forget a stream; its fence stands for `tombstone_s` more seconds."""
        args: list[Argument] = [tombstone_s * 1000, self.keys.channel(stream_id)]
        answer = await self._scripts.run("delete", self._both(stream_id), args)
        if answer[0] != b"ok":
            refuse(stream_id, answer)

    async def trim(self, stream_id: str, first: int) -> int:
        """Drop an ended stream's entries before offset `first`; return the first offset that is left.

        Raises:
            StaleEpoch: The stream has not ended; a live log is never trimmed.
        """
        answer = await self._scripts.run("trim", self._both(stream_id), [first])
        if answer[0] != b"ok":
            refuse(stream_id, answer)
        return int(answer[1])

    async def state(self, stream_id: str) -> State | None:
        """Return the state, or None where there is no stream."""
        return State.parse(await self._fields(stream_id, *FIELDS))

    async def states(self, stream_ids: Sequence[str]) -> list[State | None]:
        """Return many streams' states in one round trip; None where there is no stream."""
        rows = await self._scripts.in_order(*(("HMGET", self.keys.state(each), *FIELDS) for each in stream_ids))
        return [State.parse(row) for row in rows]

    async def read(self, stream_id: str, after: int, limit: int) -> tuple[State | None, list[Stored]]:
        """Return the state and up to `limit` entries after offset `after`, as both were at one moment."""
        state, rows = await self._page(stream_id, after, limit)
        if state is not None and _something_went(state, rows, after):
            # The log was deleted, trimmed, or expired just after its state was read: see it as it is now.
            state, rows = await self._page(stream_id, after, limit)
        return state, rows

    async def _page(self, stream_id: str, after: int, limit: int) -> tuple[State | None, list[Stored]]:
        """Read the state, then the entries; what was appended between the two reads is left out.

        Not in MULTI: Redis 7.0 refuses whatever is queued in one while it is full, reads too. One connection's
        commands run in their order, and a log only grows behind its tail: the entries up to the tail of a state that
        was read before them are those of its moment.
        """
        values, found = await self._scripts.in_order(
            ("HMGET", self.keys.state(stream_id), *FIELDS),
            ("XRANGE", self.keys.log(stream_id), after + 1, "+", "COUNT", limit),
        )
        state, rows = State.parse(values), stored_rows(found)
        if state is None:
            return None, []
        while rows and rows[-1].offset > state.tail:
            rows.pop()
        return state, rows

    async def request(self, stream_id: str) -> bytes:
        """Return the body that started the stream, as JSON."""
        (request,) = await self._fields(stream_id, "request")
        if request is None:
            raise StreamAbsent(stream_id)
        return request

    async def origin(self, stream_id: str) -> bytes:
        """Return what the face that started the stream has to remember; empty where it is nothing."""
        (origin,) = await self._fields(stream_id, "origin")
        return origin or b""

    async def _fields(self, stream_id: str, *names: str) -> list[bytes | None]:
        (values,) = await self._scripts.in_order(("HMGET", self.keys.state(stream_id), *names))
        found: list[bytes | None] = values
        return found

    def _both(self, stream_id: str) -> list[str]:
        return [self.keys.state(stream_id), self.keys.log(stream_id)]


def _something_went(state: State, rows: list[Stored], after: int) -> bool:
    """Tell whether entries are missing that the state says are there."""
    first = max(after + 1, state.first)
    return first <= state.tail and (not rows or rows[0].offset != first)
