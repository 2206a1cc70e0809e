"""All followers of a process, fed by one connection (PROTOCOL: Reading)."""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from midstream.hub.follower import Follower
from midstream.hub.lagging import DEFAULT_LIMIT_BYTES, Lagging
from midstream.hub.log_sync import Phase
from midstream.hub.moved import Moved
from midstream.hub.partings import part_from_all
from midstream.hub.resting import REST_S, Resting
from midstream.hub.tail import Tail
from midstream.hub.tenant_counts import TenantCounts
from midstream.hub.thread_waits import ThreadWait, ThreadWaits
from midstream.hub.wait import Wait
from midstream.hub.window import Window
from midstream.log.cluster_feed import feed_of
from midstream.log.connect import shed
from midstream.log.entries import parse_publication
from midstream.log.errors import LogError, LogUnavailable, StreamAbsent
from midstream.log.log import Log

logger = logging.getLogger(__name__)

DELETED: Final = b"deleted"
TRIMMED: Final = b"trimmed"
LOOK_PAGE: Final = 250
"""So many streams are looked at in one round trip."""
BEATS_PER_SILENCE: Final = 4
"""How finely the one heartbeat timer looks: a heartbeat may be early by a quarter, so that none is late."""


class Hub:
    """Opens a follower for each stream that somebody reads here, and closes it after the last reader.

    In this room a `stream_id` is a stream's name (`log/keys.py`).

    Attributes:
        stopping: This process has been told to stop.
        draining: Every tail is parted from, and those that still get in will be.
        lagging: The clients of this process that lag.
        thread_waits: Those that read a thread.
        tenant_tails: How many tails each tenant has.
        deliveries: How many publications were handed to tails: each counts once for each tail of its stream.
    """

    def __init__(
        self,
        log: Log,
        redis: Redis,
        *,
        window_bytes: int,
        heartbeat_ms: int,
        timeout_s: float,
        unsent_bytes: int = DEFAULT_LIMIT_BYTES,
    ) -> None:
        self.stopping = False
        self.draining = False
        self.tenant_tails = TenantCounts()
        self.deliveries = 0
        self._log = log
        self._window = Window(window_bytes)
        self._resting = Resting(self._window)
        self._moved = Moved()
        self.lagging = Lagging(unsent_bytes)
        self._redis = redis
        self._silence_s = heartbeat_ms / 1000
        self._timeout_s = timeout_s
        self._followers: dict[str, Follower] = {}  # by channel; no closed one is among them
        self._listeners: dict[str, Callable[[bytes], None]] = {}
        self._feed = feed_of(redis, self._deliver, self._regained, timeout_s)
        self.thread_waits = ThreadWaits(self._feed, self._listeners)
        self._timer: asyncio.Task[None] | None = None
        self._look: asyncio.Task[None] | None = None

    @property
    def tails(self) -> int:
        """How many tails there are."""
        return sum(len(follower.tails) for follower in self._followers.values())

    @property
    def readings(self) -> dict[tuple[str, ...], float]:
        """What an operator wants to know of this process' tails and memory, by name and labels."""
        lags = [follower.tail - tail.cursor for follower in self._followers.values() for tail in follower.tails]
        return {
            ("draining",): self.stopping,
            ("tails",): len(lags),
            ("followed_streams",): len(self._followers),
            ("slowest_tail_lag_entries",): max(0, *lags, 0),
            ("deliveries",): self.deliveries,
            ("unsent_bytes",): self.lagging.size_bytes,
            ("window_bytes",): self._window.size_bytes,
            ("window_reads", "hit"): self._window.hits,
            ("window_reads", "miss"): self._window.misses,
        }

    def tail_rows(self, stream_id: str, most: int) -> list[dict[str, Any]]:
        """Return what up to `most` tails of a stream do, those first that lag most."""
        follower = self._followers.get(self._log.keys.channel(stream_id))
        tails = sorted(follower.tails, key=lambda tail: tail.cursor)[:most] if follower else []
        return [tail.row for tail in tails]

    async def listen(self, channel: str, take: Callable[[bytes], None]) -> None:
        """Hand every message of a channel that is no stream's to `take`.

        Raises:
            LogUnavailable: Redis did not confirm it in time; a later call may.
        """
        self._listeners[channel] = take
        await self._feed.subscribe(channel)

    def tails_of(self, stream_id: str) -> int:
        """Return how many tails a stream has in this process."""
        return len(follower.tails) if (follower := self._followers.get(self._log.keys.channel(stream_id))) else 0

    async def start(self) -> None:
        """Connect the feed and start the heartbeat timer."""
        self._feed.start()
        self._timer = asyncio.create_task(self._beat(), name="heartbeats")

    async def stop(self) -> None:
        """Close every tail and connection."""
        for follower in tuple(self._followers.values()):
            for tail in tuple(follower.tails):
                tail.fail()
        tasks: list[asyncio.Task[Any]] = []
        for running in (self._timer, self._look):
            if running is not None:
                running.cancel()
                tasks.append(running)
        for follower in tuple(self._followers.values()):
            tasks += follower.stop()
        self._resting.drop_older_than(0)
        self._followers.clear()  # a caller that still asks would be handed a closed one, again and again
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._feed.stop()

    async def drain(self, drain_s: float, retry_ms: int) -> None:
        """Part from every tail and wait, as `part_from_all`: it does not return."""
        self.stopping = self.draining = True
        await part_from_all(self.tails_and_waits, drain_s, retry_ms)

    def tails_and_waits(self) -> list[Tail | Wait | ThreadWait]:
        """Return everything here that waits for a stream's log to grow."""
        leaving: list[Tail | Wait | ThreadWait] = [*self.thread_waits.all]
        for follower in self._followers.values():
            leaving += (*follower.tails, *follower.waits)
        return leaving

    @contextlib.asynccontextmanager
    async def follow(self, stream_id: str, after: int = 0) -> AsyncIterator[Follower]:
        """Hold the stream's follower, open and up to date; tails that join it keep it open beyond that.

        Raises as `pinned`.
        """
        follower = await self.pinned(stream_id, after)
        try:
            yield follower
        finally:
            follower.unpin()

    async def pinned(self, stream_id: str, after: int = 0) -> Follower:
        """Return the stream's follower, open, up to date and pinned: the caller unpins it.

        A reader that has read up to `after` elsewhere may know more than this process has heard of: then the log is
        read.

        Raises:
            StreamAbsent: There is no such stream.
            LogUnavailable: Redis did not answer.
        """
        while True:
            follower = self._followers.get(self._log.keys.channel(stream_id)) or self._begin(stream_id)
            follower.pin()  # before anything is awaited, so that no other reader closes it by leaving
            try:
                opening = follower.opening
                if opening is not None:
                    await asyncio.wait((opening,))
                    error = None if opening.cancelled() else opening.result()
                    if error is not None:
                        raise error
                if follower.tail < after and not follower.closed:
                    await self._read_up(follower)
            except BaseException:
                follower.unpin()
                raise
            if not follower.closed:
                return follower
            # The stream was deleted just now: ask the log. A closed follower is in no table, so the next one has to be
            # opened first: this loop never turns without the event loop.
            follower.unpin()

    async def _read_up(self, follower: Follower) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await follower.catch_up()
        except TimeoutError as error:
            raise LogUnavailable(f"{follower.stream_id} could not be read") from error

    def _begin(self, stream_id: str) -> Follower:
        channel = self._log.keys.channel(stream_id)
        follower = self._resting.take(channel) or Follower(
            stream_id, self._log, self._window, self.lagging, self._close, self._release, self.tenant_tails
        )
        self._followers[channel] = follower
        follower.opening = asyncio.create_task(self._open(follower), name=f"open {stream_id}")
        return follower

    async def _open(self, follower: Follower) -> LogError | None:
        """Subscribe and read; return what made that fail, which is no error of this task: all callers may have left."""
        follower.pin()  # opened to the end even if all have left: a second subscription would take this one's reply
        is_open = False
        try:
            # Subscribed before the stream is known to exist: that saves a round trip in the common case.
            await self._feed.subscribe(self._log.keys.channel(follower.stream_id))
            is_open = await follower.sync.refresh()
        except LogError as error:
            return error
        finally:
            if not is_open:
                self._close(follower)
            follower.opening = None  # here and not in a callback of the task, which would run a turn later
            follower.unpin()
        return None if is_open else StreamAbsent(follower.stream_id)

    def _close(self, follower: Follower) -> None:
        if follower.closed:
            return
        follower.stop()
        self._part_from(follower)

    def _release(self, follower: Follower) -> None:
        """Close a follower that nobody uses, or have it rest. Several that leave in one turn have each asked for it."""
        if follower is not self._followers.get(self._log.keys.channel(follower.stream_id)):
            return
        if follower.may_rest and not self.draining:
            self._resting.put(self._part_from(follower), follower)
        else:
            self._close(follower)

    def _part_from(self, follower: Follower) -> str:
        """Follow a stream no longer; return its channel."""
        channel = self._log.keys.channel(follower.stream_id)
        del self._followers[channel]
        self._feed.unsubscribe(channel)
        return channel

    def _deliver(self, messages: list[tuple[str, bytes]]) -> None:
        """Let each follower take what has come, then move its tails: what came together leaves in one write."""
        for channel, message in messages:
            follower = self._followers.get(channel)
            if follower is None:
                if channel in self._listeners:
                    self._listeners[channel](message)
                continue
            if message == DELETED:
                follower.pump()  # what came before it
                follower.forget("deleted")
            elif message == TRIMMED:
                follower.sync.mark_stale()  # its first entry is another one now
            elif follower.offer(parse_publication(message)):
                self.deliveries += len(follower.tails)
                self._moved.add(follower)
        self._moved.pump()

    def _regained(self) -> None:
        """The feed was away: publications may have been missed."""
        self.thread_waits.wake()
        for follower in tuple(self._followers.values()):
            follower.sync.mark_stale()

    async def _beat(self) -> None:
        """Send heartbeats, and look whether silent streams still exist: nobody says so when a key expires."""
        for beats in itertools.count(1):
            await asyncio.sleep(self._silence_s / BEATS_PER_SILENCE)
            for follower in tuple(self._followers.values()):
                follower.beat(BEATS_PER_SILENCE)  # raises nothing: all tails' heartbeats hang on this loop
            self._resting.drop_older_than(REST_S)
            if beats % BEATS_PER_SILENCE == 0 and (self._look is None or self._look.done()):
                self._look = asyncio.create_task(self._look_at_all(), name="look at silent streams")

    async def _look_at_all(self) -> None:
        """Compare each live log with what is known of it here; only one that differs, or is gone, is read."""
        live = [
            follower
            for follower in self._followers.values()
            if not follower.ended and follower.sync.phase is Phase.FOLLOWING  # else the log is being read anyway
        ]
        try:
            for start in range(0, len(live), LOOK_PAGE):
                page = live[start : start + LOOK_PAGE]
                extents = await self._log.many.extents([follower.stream_id for follower in page])
                for follower, extent in zip(page, extents, strict=True):
                    if extent != follower.extent:
                        follower.sync.mark_stale()
        except LogUnavailable as error:
            logger.debug("silent streams could not be looked at, and will be at the next heartbeat: %s", error)
        with contextlib.suppress(RedisError, OSError):  # a connection that breaks while it is closed
            await shed(self._redis)
