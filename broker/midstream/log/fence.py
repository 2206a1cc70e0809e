"""What lets an attempt in."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fence:
    """What an attempt shows to be let in: its epoch, and the random word it claimed with."""

    epoch: int
    owner: str
