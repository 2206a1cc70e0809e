"""A wait for one milestone of a stream. It reads nothing and holds no frames; see `Follower.wait_for`."""

import asyncio
from enum import Enum, auto

from midstream.access.grant import Grant


class Milestone(Enum):
    """What can be waited for."""

    FIRST_WORD = auto()
    """The source has said something, or the stream has ended without a word."""
    END = auto()
    """The stream has ended."""


class Wait:
    """One caller that waits until a follower has come to a milestone, or until nothing more will come from here.

    Attributes:
        milestone: What it waits for.
        over: Done as soon as the wait is over.
        grant: What the caller was let in by, if it can end before the wait does.
    """

    __slots__ = ("grant", "milestone", "over")

    def __init__(self, milestone: Milestone, grant: Grant | None = None) -> None:
        self.grant = grant
        self.milestone = milestone
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def finish(self) -> None:
        """Wake the caller; may be called again."""
        if not self.over.done():
            self.over.set_result(None)

    def part(self, retry_ms: int) -> None:  # noqa: ARG002
        """Wake the caller, because this process stops."""
        self.finish()

    def refuse(self, reason: str) -> None:  # noqa: ARG002
        """Wake the caller, because its credential is over."""
        self.finish()
