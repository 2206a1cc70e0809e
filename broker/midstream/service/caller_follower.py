"""A stream's follower in a caller's hands: tails that join it end with the caller's grant (PROTOCOL: Access/Ending)."""

from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any

from midstream.access.grant import Grant
from midstream.faces.face import Face
from midstream.hub.follower import Follower
from midstream.hub.tail import Tail
from midstream.log.errors import LogTrimmed
from midstream.service.room import Room


class CallerFollower:
    """What endpoints use of a follower. `FollowerHold` makes one, after it has seen whose stream it is.

    `room` refuses tails over a limit; None where the tail's room was looked at before its stream was started.
    """

    __slots__ = ("_follower", "_grant", "_room")

    def __init__(self, follower: Follower, grant: Grant | None, room: Room | None) -> None:
        self._follower = follower
        self._grant = grant
        self._room = room

    @property
    def tail(self) -> int:
        """The last offset known here."""
        return self._follower.tail

    @property
    def first(self) -> int:
        """The first offset that the log still keeps."""
        return self._follower.first

    @property
    def ended(self) -> bool:
        """Whether the terminal entry is at `tail`."""
        return self._follower.ended

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
        if after + 1 < self._follower.first:
            raise LogTrimmed(self._follower.first)
        if self._room is not None:
            self._room.require_tail(len(self._follower.tails))
        tail = self._follower.join(face, after, until, mark=mark, pace=pace)
        tail.grant = self._grant
        return tail


class FollowerHold:
    """Holds a pinned follower in an `async with`, whose tails keep it open beyond that.

    A class, because it stands in the way of every client that comes back after a deploy: `asynccontextmanager` and its
    generator cost three times as much.
    """

    __slots__ = ("_follower", "_grant", "_pinned", "_room")

    def __init__(
        self,
        pinned: Coroutine[Any, Any, Follower],
        grant: Callable[[], Grant | None],
        room: Room | None,
    ) -> None:
        self._pinned = pinned
        self._grant = grant
        self._room = room

    async def __aenter__(self) -> CallerFollower:
        self._follower = await self._pinned
        return CallerFollower(self._follower, self._grant(), self._room)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._follower.unpin()
