"""A follower as a tail sees it that is sent its entries at a pace (PROTOCOL: Read/Pace)."""

import asyncio
import logging
from typing import Any

from midstream.faces.face import Face
from midstream.hub.reader import LogReader
from midstream.hub.tail import Tail

logger = logging.getLogger(__name__)


class PacedReader:
    """Shows one tail the log up to the entry that is due: after a text of n characters, n / `chars_per_s` later.

    It is the tail's `sync` as well. It costs one timer while the tail waits, and other tails nothing.

    Args:
        follower: What is read.
        chars_per_s: The pace.
        until: The offset after which the tail ends; None: with the stream.
    """

    def __init__(self, follower: LogReader, chars_per_s: float, until: int | None) -> None:
        self.stream_id = follower.stream_id
        self.frames = follower.frames
        self.lagging = follower.lagging
        self.paced: Tail
        self._follower = follower
        self._chars_per_s = chars_per_s
        self._until = until
        self._counted = -1
        self._due_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def sync(self) -> "PacedReader":
        """How far the tail may read."""
        return self

    @property
    def first(self) -> int:
        """The first offset that the log still keeps."""
        return self._follower.sync.first

    @property
    def tail(self) -> int:
        """The last offset that may be sent now."""
        cursor = self.paced.cursor
        if cursor >= self._last:
            return self._last
        loop = asyncio.get_running_loop()
        if cursor != self._counted:  # an entry was sent: the next one is due when it has been read
            chars = 0 if self._counted < 0 else self.frames.chars_at(cursor)
            self._counted = cursor
            self._due_s = max(self._due_s, loop.time()) + chars / self._chars_per_s
        if loop.time() >= self._due_s:
            return cursor + 1
        if self._timer is None:
            self._timer = loop.call_at(self._due_s, self._go_on)
        return cursor

    @property
    def ended(self) -> bool:
        """Whether the tail has been sent all that it will be."""
        return self.paced.cursor >= self._last and (self._until is not None or self._follower.sync.ended)

    def load(self, index: int, tail: Tail) -> None:
        """As of the follower."""
        self._follower.load(index, tail)

    def leave(self, tail: Tail) -> None:
        """As of the follower."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._follower.leave(tail)

    @property
    def _last(self) -> int:
        return self._follower.sync.tail if self._until is None else self._until

    def _go_on(self) -> None:
        self._timer = None
        try:
            self.paced.pump()
        except Exception:
            logger.exception(
                "a paced tail of %s failed and is closed", self.stream_id, extra={"stream": self.stream_id}
            )
            self.paced.fail()


def paced(
    follower: LogReader,
    chars_per_s: float,
    face: Face[Any],
    after: int,
    until: int | None,
    mark: tuple[int, bytes] | None,
) -> Tail:
    """Return a tail that is sent its entries at a pace."""
    reader = PacedReader(follower, chars_per_s, until)
    reader.paced = Tail(reader, face, after, None, mark)
    return reader.paced
