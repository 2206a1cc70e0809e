"""What ended each earlier attempt at a stream, as its state keeps it (PROTOCOL: Operate/Stream)."""

from dataclasses import dataclass
from typing import Final, Literal, Self, cast

LOST: Final = "lost"
HANDED_OVER: Final = "handed_over"
WORDS: Final = 4


@dataclass(frozen=True, slots=True)
class PastAttempt:
    """An attempt that was not the last one.

    Attributes:
        epoch: Its number.
        how: Its worker was `lost`, or has `handed_over` the stream because it stopped.
        ended_ms: When the stream was queued again, by the server's clock.
        owner: The word that it claimed with.
    """

    epoch: int
    how: Literal["lost", "handed_over"]
    ended_ms: int
    owner: str

    @classmethod
    def parse(cls, past: bytes | None) -> tuple[Self, ...]:
        """Return the attempts that a state names; of many only the last ones, because the state keeps no more."""
        rows = [line.split(" ") for line in (past or b"").decode().split("\n")]
        return tuple(
            cls(int(row[0]), cast("Literal['lost', 'handed_over']", row[1]), int(row[2]), row[3])
            for row in rows
            if len(row) == WORDS and row[0].isdigit()
        )
