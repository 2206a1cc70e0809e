"""What one attempt writes to its stream's log. As long as its fence holds, nobody else can write there.

`Writer` makes entries of deltas and decides when they leave; an `Attempt` sees to it that they come to the log, however
long Redis is away. It remembers everything that it appended until the stream is sealed, so that entries that a
restarted server lost can be written again (PROTOCOL: Append/Ambiguous, Append/Rollback).
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from midstream import counters
from midstream.attempts.attempt_parts import AttemptParts
from midstream.log.errors import LogFull, LogUnavailable, StaleEpoch, StreamAbsent, StreamSealed, TailMismatch
from midstream.log.state import State
from midstream.log.values import NO_NOTES, Ending, Fence, Look, Notes
from midstream.traces.tracing import NO_ATTEMPT, AttemptTrace

logger = logging.getLogger(__name__)

BACKOFF_S: Final = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Waits between tries while Redis does not answer; the last one repeats."""
FULL_S: Final = 10.0
"""How long a write waits for a server that is out of memory."""


class Attempt:
    """Appends and seals, and finds out whether a write whose answer was lost took effect.

    Every method raises `StaleEpoch`, `StreamSealed` or `StreamAbsent` when the stream is no longer ours, and
    `LogFull` when the server stays out of memory.

    Attributes:
        stream_id: The stream's name (`log/keys.py`).
        state: Its state at the claim.
        fence: Epoch and owner, which the server compares with its own at every write.
        tail: The last offset that is known to be written.
        last_ms: When entries were last to be written, or the claim, by the server's clock.
        is_sealing: The end is on its way, and may have taken effect.
        sealed: The end is written, so there is no lease any more.
        sealed_s: When that was, by the monotonic clock.
        look: The next look that a reaper planned at the stream; None: the claim's answer was lost.
        trace: What is told of the attempt as spans.
        prices: What models cost.
    """

    def __init__(
        self, parts: AttemptParts, stream_id: str, state: State, fence: Fence, look: Look | None = None
    ) -> None:
        self.stream_id = stream_id
        self.state = state
        self.fence = fence
        self.tail = state.tail
        self.last_ms = state.started_ms
        self.is_sealing = False
        self.sealed = False
        self.sealed_s = 0.0
        self.look = look
        self.trace: AttemptTrace = NO_ATTEMPT
        self.prices = parts.settings.prices
        self._log = parts.log
        self._fsync = parts.fsync
        self._delays = parts.write_delays
        self._lease_ms = parts.settings.lease_ms
        self._notes = NO_NOTES
        self._reclaiming = asyncio.Lock()
        self._base = state.tail
        self._written: list[bytes] = []
        self._claimed_s = time.monotonic()

    @classmethod
    async def claim(cls, parts: AttemptParts, stream_id: str, owner: str) -> tuple["Attempt", bytes]:
        """Claim a queued stream; return the attempt, and the request as JSON.

        Raises:
            StaleEpoch, StreamSealed, StreamAbsent: The stream cannot be claimed.
            LogUnavailable: Redis did not answer.
        """
        claims = parts.claims
        try:
            claim = await claims.claim(stream_id, owner, parts.settings.lease_ms)
        except LogUnavailable:
            state = await claims.state(stream_id)
            if state is None or state.owner != owner:
                raise
            # Only the answer was lost: nobody else knows the owner's word.
            request = await claims.request(stream_id)
            return cls(parts, stream_id, state, Fence(state.epoch, owner)), request
        return cls(parts, stream_id, claim.state, claim.fence, claim.look), claim.request

    @property
    def now_ms(self) -> int:
        """The server's clock, in ms, estimated from the claim and our own clock."""
        return self.state.started_ms + round((time.monotonic() - self._claimed_s) * 1000)

    async def append(self, contents: list[bytes], cursor: int | None = None) -> None:
        """Append entries, however long Redis is away."""

        def append(rest: list[bytes]) -> Awaitable[int]:
            self.last_ms = self.now_ms
            after_ms = self.last_ms - self.state.created_ms
            return self._log.append(
                self.stream_id, self.fence, self.tail, rest, upstream_cursor=cursor, after_ms=after_ms
            )

        await self._write(contents, append)

    async def seal(self, contents: list[bytes], outcome: str) -> None:
        """Append the last entries and end the stream, however long Redis is away.

        Returns when the end is on the server's disk, if the server can tell that. Until then, all entries are kept
        here, so that they can be written again.
        """
        self.is_sealing = True
        await self._seal(contents, outcome)
        self.sealed, self.sealed_s = True, time.monotonic()
        while True:
            try:
                await self._fsync.wait()
            except LogUnavailable:
                await self._seal([], outcome)
            else:
                return

    async def _seal(self, contents: list[bytes], outcome: str) -> None:
        async def seal(rest: list[bytes]) -> int:
            ending = Ending(rest, outcome)
            return await self._log.seal(self.stream_id, self.fence, self.tail, ending)

        try:
            await self._write(contents, seal)
        except StreamSealed as sealed:
            # The answer to a first try may have been lost. A seal of this epoch and outcome is ours, or a reaper's
            # that ended the stream in the same way.
            if (sealed.epoch, sealed.owner, sealed.outcome) != (self.fence.epoch, self.fence.owner, outcome):
                raise

    async def renew(self, notes: Notes = NO_NOTES) -> bool:
        """Renew the lease once, write notes with it, and return whether a client has asked for a cancel.

        Raises:
            LogUnavailable: Redis did not answer.
        """
        try:
            is_cancelled = await self._log.renew(self.stream_id, self.fence, self._lease_ms, notes)
        except StaleEpoch as stale:
            await self._reclaim(stale)
            is_cancelled = await self._log.renew(self.stream_id, self.fence, self._lease_ms, notes)
        self._notes = self._notes.followed_by(notes)
        return is_cancelled

    async def note(self, notes: Notes) -> None:
        """Write notes, however long Redis is away."""
        await self._insist(lambda: self.renew(notes))

    async def note_durably(self, notes: Notes) -> None:
        """Write notes and return when they are on the server's disk, however long that takes."""

        async def act() -> None:
            await self.renew(notes)
            if not await self._fsync.wait():
                raise LogUnavailable("the mark is not on the server's disk yet")

        await self._insist(act)

    async def append_durably(self, contents: list[bytes]) -> None:
        """Append entries and return when they are on the server's disk, however long that takes."""
        left = contents

        async def act() -> None:
            nonlocal left
            new, left = left, []
            await self.append(new)  # without entries it writes again what the server has lost
            if not await self._fsync.wait():
                raise LogUnavailable("the entries are not on the server's disk yet")

        await self._insist(act)

    async def release(self) -> None:
        """Give the stream back to the queue, however long Redis is away."""
        await self._insist(lambda: self._log.release(self.stream_id, self.fence))

    async def _write(self, contents: list[bytes], write: Callable[[list[bytes]], Awaitable[int]]) -> None:
        self._written += contents
        target = self._base + len(self._written)

        async def rest() -> None:
            missing = self._written[self.tail - self._base :]
            try:
                self.tail = await write(missing)
            except TailMismatch as mismatch:
                self.tail = self._reconciled(mismatch.actual, target)
                if self.tail < target:
                    raise LogUnavailable(f"the tail is at {self.tail}") from mismatch

        began_s = time.monotonic()
        await self._insist(rest)
        counters.distribution("append_seconds").add(time.monotonic() - began_s)

    def _reconciled(self, actual: int, target: int) -> int:
        """Return the tail to go on from. Epoch and owner were ours, so every entry after our base is ours too."""
        if actual < self._base:
            raise StaleEpoch(self.fence.epoch)  # even our `start` is gone, so the log is not the one that we wrote to
        if actual < self.tail:
            logger.warning(
                "stream %s lost %d entries; writing them again",
                self.stream_id,
                self.tail - actual,
                extra={"stream": self.stream_id},
            )
        return min(actual, target)

    async def _reclaim(self, stale: StaleEpoch) -> None:
        """Claim the stream again if the server has lost our claim.

        Epochs only rise, so one below ours means that the server lost our claim (PROTOCOL: Append/Rollback).
        Nobody else knows the owner's word, so a claim with it is our own, whose answer was lost.

        Raises:
            StaleEpoch: Another attempt holds it.
        """
        if stale.current >= self.fence.epoch:
            raise stale
        async with self._reclaiming:
            try:
                claim = await self._log.claim(self.stream_id, self.fence.owner, self._lease_ms)
            except StaleEpoch:
                state = await self._log.state(self.stream_id)
                if state is None or (state.epoch, state.owner) != (self.fence.epoch, self.fence.owner):
                    raise stale from None
                return
            if (claim.fence, claim.state.tail) != (self.fence, self._base):
                raise StaleEpoch(claim.fence.epoch)
            logger.warning(
                "stream %s: the server had lost our claim; writing everything again",
                self.stream_id,
                extra={"stream": self.stream_id},
            )
            self.tail = self._base
            if self._notes != NO_NOTES:
                await self._log.renew(self.stream_id, self.fence, self._lease_ms, self._notes)

    async def _insist(self, act: Callable[[], Awaitable[object]]) -> None:
        tries = 0
        began_s = time.monotonic()
        try:
            while True:
                try:
                    await act()
                except StaleEpoch as stale:
                    await self._reclaim(stale)
                except LogUnavailable as error:
                    if isinstance(error, LogFull) and time.monotonic() - began_s > FULL_S:
                        raise
                    if not tries:
                        self._delays.begin(self.stream_id, error)
                    tries += 1
                    counters.count("write_retries")
                    await asyncio.sleep(BACKOFF_S[min(tries, len(BACKOFF_S)) - 1])
                else:
                    return
        finally:
            if tries:
                self._delays.end()


Lost = (StaleEpoch, StreamSealed, StreamAbsent)
"""The stream is no longer ours."""
