"""A stream's follower in a caller's hands: tails that join it end with the caller's grant (PROTOCOL: Access/Ending)."""

from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self

from midstream.access.grant import Grant
from midstream.faces.face import Face, MergingFace
from midstream.hub.follower import Follower
from midstream.hub.merged_replay import merged_replay
from midstream.hub.tail import Tail
from midstream.log.errors import LogTrimmed
from midstream.service.room import Room


class CallerFollower:
    """What endpoints use of a follower, which is pinned while they hold this in an `async with`; tails keep it longer.

    A class with its own `__aenter__` and `__aexit__`, because every client that comes back after a deploy passes here:
    `asynccontextmanager` and its generator cost three times as much.

    Args:
        pinned: Returns the follower, after it has seen whose stream it is.
        watched: Returns what the tails' ends depend on.
        room: Refuses tails over a limit; None where the tail's room was looked at before its stream was started.
    """

    __slots__ = ("_follower", "_pinned", "_room", "_watched")

    def __init__(
        self, pinned: Coroutine[Any, Any, Follower], watched: Callable[[], Grant | None], room: Room | None
    ) -> None:
        self._pinned = pinned
        self._watched = watched
        self._room = room

    async def __aenter__(self) -> Self:
        self._follower = await self._pinned
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._follower.unpin()

    @property
    def tail(self) -> int:
        """The last offset known here."""
        return self._follower.sync.tail

    @property
    def first(self) -> int:
        """The first offset that the log still keeps."""
        return self._follower.sync.first

    @property
    def ended(self) -> bool:
        """Whether the terminal entry is at `tail`."""
        return self._follower.sync.ended

    def join(
        self,
        face: Face[Any],
        after: int,
        until: int | None = None,
        *,
        mark: tuple[int, bytes] | None = None,
        pace: float | None = None,
    ) -> Tail:
        """Add a tail that reads after offset `after`; it sends nothing before `Tail.begin`.

        Raises:
            LogTrimmed: The entries after that are gone.
            LimitExceededError: The tenant or the stream has as many as it may have in this process.
        """
        self._require(after)
        tail = self._follower.join(face, after, until, mark=mark, pace=pace)
        tail.grant = self._watched()
        return tail

    def join_merged(
        self, face: MergingFace[Any], after: int, until: int | None = None, *, mark: tuple[int, bytes] | None = None
    ) -> Tail:
        """Do as `join`; what is logged now is sent in merged entries (PROTOCOL: Read/Coalesced)."""
        self._require(after)
        tail = self._follower.add(merged_replay(self._follower, face, after, until, mark))
        tail.grant = self._watched()
        return tail

    def _require(self, after: int) -> None:
        follower = self._follower
        if after + 1 < follower.sync.first:
            raise LogTrimmed(follower.sync.first)
        if self._room is not None:
            self._room.require_tail(len(follower.tails))
