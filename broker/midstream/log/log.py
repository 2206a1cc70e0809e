"""The durable log of all streams, and the only way to their keys.

Every write is one script (`lua/`), so that each invariant is kept, or a call refused, in one place. See PROTOCOL.
"""

from collections.abc import Sequence

from redis.asyncio import Redis

from midstream.log import calls
from midstream.log.connect import keys_of
from midstream.log.creation import Creation
from midstream.log.deletion import Deletion
from midstream.log.entries import Stored, Timed, timed_entries
from midstream.log.errors import (
    LeaseHeld,
    LogError,
    StaleEpoch,
    StreamAbsent,
    StreamSealed,
    TailMismatch,
)
from midstream.log.gathered import Gathered
from midstream.log.many import Many
from midstream.log.page_reads import Page, PageReads, Read, as_page, as_pages, commands, is_cut, is_incomplete
from midstream.log.past import PastAttempt
from midstream.log.registry import Registry
from midstream.log.scripts import Scripts, accepted
from midstream.log.state import FIELDS, Left, State
from midstream.log.values import NO_NOTES, Claim, Ending, Fence, Look, NewStream, Notes


class Log:
    """All streams under one key prefix of one Redis. Each `stream_id` here is a stream's name (`keys.stream_name`).

    Every method raises `LogUnavailable` when Redis does not answer, and `StreamAbsent` for a stream that does not
    exist, unless it says that it returns None.

    Whatever ends a stream here also takes it off the list that reapers go by.
    """

    def __init__(self, redis: Redis, prefix: str) -> None:
        self.keys = keys_of(redis, prefix)
        self._scripts = Scripts(redis)
        self._appends = Gathered(self._scripts)
        self._registry = Registry(redis, prefix)
        self._first_pages = PageReads(self._pages)
        self.many = Many(self._scripts, self.keys, self._registry)

    async def create(self, stream_id: str, new: NewStream, *, look_in_ms: int, life_s: float = 0.0) -> int | None:
        """Create a stream and return its time of creation in ms; None if the same start created it before.

        A reaper looks at it in `look_in_ms`, even if this process is gone by then (PROTOCOL: Create/Registered).
        `life_s` is how long it may be queued and run; its thread is listed so much longer than it is kept.

        Raises:
            IdempotencyMismatch: It exists, and was created with another digest.
            StreamDeleted: It was deleted, and its tombstone stands.
            ThreadActive, ThreadFull: `if_active` of the new stream forbids it.
        """
        creation = Creation(self._scripts, self.keys, self._registry)
        return await creation.run(stream_id, new, look_in_ms, life_s)

    async def claim(self, stream_id: str, owner: str, lease_ms: int) -> Claim:
        """Take a queued stream for a new attempt.

        Raises:
            StaleEpoch: Somebody else holds it.
            StreamSealed: It has ended.
        """
        look, answer = await self._scripts.run_after(
            (("ZSCORE", self.keys.near(stream_id).due, stream_id), ("TIME",)),
            calls.Claim(
                state=self.keys.state(stream_id),
                log=self.keys.log(stream_id),
                owner=owner,
                lease_ms=lease_ms,
                channel=self.keys.channel(stream_id),
                answer_fields=("request", *FIELDS),
            ),
        )
        ((request, *values),) = accepted(stream_id, answer)
        state = State.parse(values)
        assert state is not None  # noqa: S101 - the same script has just claimed it
        return Claim(Fence(state.epoch, owner), state, bytes(request or b"{}"), _look(*look))

    async def append(
        self,
        stream_id: str,
        fence: Fence,
        tail: int,
        contents: Sequence[bytes],
        *,
        upstream_cursor: int | None = None,
        after_ms: int | None = None,
    ) -> int:
        """Append stored entries after offset `tail`, which must be the last one, and return the new tail.

        `upstream_cursor` is the provider's own position after these entries. `after_ms` is their time in ms after the
        stream was created (PROTOCOL: Entries/Time); None: the server looks at its clock, which costs it 1 us.

        Raises:
            StaleEpoch, TailMismatch, StreamSealed, LogFull: Nothing was written.
        """
        call = calls.Append(
            state=self.keys.state(stream_id),
            log=self.keys.log(stream_id),
            epoch=fence.epoch,
            owner=fence.owner,
            expected_tail=tail,
            channel=self.keys.channel(stream_id),
            tail_ms="" if after_ms is None else max(0, after_ms),
            upstream_cursor="" if upstream_cursor is None else upstream_cursor,
            entries=contents,
        )
        (new_tail,) = accepted(stream_id, await self._appends.run(call))
        return int(new_tail)

    async def seal(self, stream_id: str, fence: Fence, tail: int, ending: Ending) -> int:
        """Append the last entries after offset `tail`, end the stream, and return the new tail.

        Raises:
            StaleEpoch, TailMismatch, StreamSealed: Nothing was written.
            LeaseHeld: A reaper's fence was used while an owner holds the lease.
        """
        call = calls.Seal(
            state=self.keys.state(stream_id),
            log=self.keys.log(stream_id),
            epoch=fence.epoch,
            owner=fence.owner,
            expected_tail=tail,
            channel=self.keys.channel(stream_id),
            outcome=ending.outcome,
            code=ending.code,
            cost=ending.cost,
            entries=ending.contents,
        )
        new_tail, *left = map(int, accepted(stream_id, await self._scripts.run(call)))
        await self._registry.unwatch_ended({stream_id: Left(*left)})
        return new_tail

    async def renew(self, stream_id: str, fence: Fence, lease_ms: int, notes: Notes = NO_NOTES) -> bool:
        """Renew the lease, write notes with it, and return whether a cancel was asked for.

        Raises:
            StaleEpoch, StreamSealed: The lease is lost; the caller must stop.
        """
        call = calls.Renew(
            state=self.keys.state(stream_id),
            epoch=fence.epoch,
            owner=fence.owner,
            lease_ms=lease_ms,
            notes=[word for note in notes.changes().items() for word in note],
        )
        (cancel_ms,) = accepted(stream_id, await self._scripts.run(call))
        return bool(cancel_ms)

    async def release(self, stream_id: str, fence: Fence) -> None:
        """Give a running stream back to the queue.

        Raises:
            StaleEpoch, StreamSealed, LeaseHeld: It is not, or no longer, the caller's to give back.
        """
        call = calls.Release(state=self.keys.state(stream_id), epoch=fence.epoch, owner=fence.owner)
        accepted(stream_id, await self._scripts.run(call))

    async def cancel(self, stream_id: str, ending: Ending) -> bool:
        """Ask the owner to stop, or seal the stream if it is still queued; return whether this call sealed it.

        Raises:
            StreamSealed: It has ended already.
        """
        call = calls.Cancel(
            state=self.keys.state(stream_id),
            control=self.keys.near(stream_id).control,
            message=f"cancel {stream_id}",
        )
        while True:
            answer = await self._scripts.run(call)
            if answer[0] != b"queued":
                accepted(stream_id, answer)
                return False
            state = await self.state(stream_id)
            if state is None:
                continue
            try:
                await self.seal(stream_id, Fence.of_reaper(state.epoch), state.tail, ending)
            except (LeaseHeld, StaleEpoch, TailMismatch, StreamSealed):
                continue  # a worker claimed it in between: what runs now is asked to stop
            return True

    async def delete(self, stream_id: str, tombstone_s: int) -> None:
        """Forget a stream and what leads to it; its tombstone stands for `tombstone_s` more seconds.

        The stream itself goes last: until then the same call can be made again.
        """
        deletion = Deletion(self._scripts, self.keys, self._registry)
        await deletion.run(stream_id, tombstone_s)

    async def retain(self, stream_id: str, ttl_s: int, lists: Sequence[str] = (), thread: str = "") -> None:
        """Keep a stream for `ttl_s` after its end, whatever its outcome; one that ended longer ago expires now.

        What its tenant has stored is counted until then. Where Redis stops answering in between, the same call can be
        made again, and the count may be wrong until the stream expires (PROTOCOL: Limits/Stored).

        `lists` are the owners in whose lists it stands, which are kept as long; those of its thread, too.
        """
        call = calls.Retain(state=self.keys.state(stream_id), log=self.keys.log(stream_id), ttl_s=ttl_s)
        stored_bytes, ended_ms, ttl_s_before = map(int, accepted(stream_id, await self._scripts.run(call)))
        if ended_ms and ttl_s != ttl_s_before:
            await self._registry.recount(stream_id, Left(stored_bytes, ended_ms, ttl_s), ttl_s_before)
        for owner in lists:
            await self._registry.keep(owner, thread, ttl_s)

    async def trim(self, stream_id: str, first: int) -> int:
        """Drop an ended stream's entries before offset `first`; return the first offset that is left.

        What its tenant has stored is counted less by what the log has shrunk (PROTOCOL: Operate/Trim).

        Raises:
            StaleEpoch: The stream has not ended; a live log is never trimmed.
        """
        call = calls.Trim(
            state=self.keys.state(stream_id),
            log=self.keys.log(stream_id),
            channel=self.keys.channel(stream_id),
            first_kept=first,
        )
        first_left, *left = map(int, accepted(stream_id, await self._scripts.run(call)))
        await self._registry.unwatch_ended({stream_id: Left(*left)})
        return first_left

    async def state(self, stream_id: str) -> State | None:
        """Return the state, or None where there is no stream."""
        return State.parse(await self._fields(stream_id, *FIELDS))

    async def states(self, stream_ids: Sequence[str]) -> list[State | None]:
        """Return many streams' states in one round trip; None where there is no stream."""
        rows = await self._scripts.in_order(*(("HMGET", self.keys.state(each), *FIELDS) for each in stream_ids))
        return [State.parse(row) for row in rows]

    async def read(self, stream_id: str, after: int, limit: int) -> tuple[State | None, list[Stored]]:
        """Return the state and up to `limit` entries after offset `after`, as both were at one moment."""
        state, entries, _ = await self._read(stream_id, after, limit)
        return state, entries

    async def read_together(self, stream_id: str, after: int, limit: int) -> tuple[State | None, list[Stored]]:
        """Do as `read`, in one round trip with what others ask for at this moment; for few entries of many streams."""
        state, entries, _ = await self._first_pages.page(Read(stream_id, after, limit))
        if state is None or not is_cut(state, entries, after, limit):
            return state, entries
        return await self.read(stream_id, after, limit)

    async def read_timed(self, stream_id: str, after: int, limit: int) -> tuple[State | None, list[Timed]]:
        """Do as `read`, for people who look at the log: each entry with the time of its append."""
        state, entries, rows = await self._read(stream_id, after, limit)
        return state, [] if state is None else timed_entries(entries, rows, state.created_ms)

    async def _read(self, stream_id: str, after: int, limit: int) -> Page:
        page = await self._page(stream_id, after, limit)
        state, entries, _ = page
        if state is not None and is_incomplete(state, entries, after):
            # The log was deleted, trimmed or expired just after its state was read: read both as they are now.
            page = await self._page(stream_id, after, limit)
        return page

    async def _page(self, stream_id: str, after: int, limit: int) -> Page:
        """Read the state, then the entries; what was appended between the two reads is left out.

        They are not read in MULTI, because Redis 7.0 refuses whatever is queued in one while it is full, even reads.
        The commands of one connection run in order, and a log only grows after its tail, so the entries up to the tail
        of a state that was read before them are those of that moment.
        """
        return as_page(*await self._scripts.in_order(*commands(self.keys, [Read(stream_id, after, limit)])))

    async def _pages(self, reads: Sequence[Read]) -> list[Page | LogError | ValueError]:
        return as_pages(await self._scripts.each(*commands(self.keys, reads)))

    async def used_bytes(self, stream_id: str) -> int:
        """Return what the log takes of the server's memory; 0 where the server does not tell."""
        (used_bytes,) = await self._scripts.in_order(("MEMORY", "USAGE", self.keys.log(stream_id)))
        return int(used_bytes or 0)

    async def request(self, stream_id: str) -> bytes:
        """Return the body that started the stream, as JSON."""
        (request,) = await self._fields(stream_id, "request")
        if request is None:
            raise StreamAbsent(stream_id)
        return request

    async def past(self, stream_id: str) -> tuple[PastAttempt, ...]:
        """Return what ended a stream's earlier attempts."""
        (past,) = await self._fields(stream_id, "past")
        return PastAttempt.parse(past)

    async def origin(self, stream_id: str) -> bytes:
        """Return what the endpoint that started the stream has to remember; empty: nothing."""
        (origin,) = await self._fields(stream_id, "origin")
        return origin or b""

    async def _fields(self, stream_id: str, *names: str) -> list[bytes | None]:
        (values,) = await self._scripts.in_order(("HMGET", self.keys.state(stream_id), *names))
        typed: list[bytes | None] = values
        return typed


def _look(due_ms: bytes | None, time: list[bytes]) -> Look:
    seconds, microseconds = map(int, time)
    return Look(seconds * 1000 + microseconds // 1000, None if due_ms is None else int(float(due_ms)))
