"""What this process has counted and measured since it started, for operators: plain numbers in memory.

Rooms count where something happens, and know nothing of how the numbers are shown; `metrics/` reads them. Labels come
from fixed lists, and never from a client, because each combination of them stays in memory (PROTOCOL: Metrics/Labels).
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Final

SHORT_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The default bounds of a distribution's parts, in seconds: for what should take milliseconds."""


class Distribution:
    """How often a measured value fell into each part of its range.

    Attributes:
        bounds: The upper bound of each part; values above the last one are in a part of their own.
        numbers: How many values are in each part.
        total: The sum of all values.
    """

    __slots__ = ("bounds", "numbers", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.numbers = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Take a value; one that equals a bound is below it."""
        self.numbers[bisect_left(self.bounds, value)] += 1
        self.total += value


class Tally:
    """A count that is kept at hand where each tail passes; raise `number` itself, which costs a tenth of a call."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0


_COUNTS: Final[Counter[tuple[str, ...]]] = Counter()
_TALLIES: Final[dict[tuple[str, ...], Tally]] = {}
_DISTRIBUTIONS: Final[dict[tuple[str, ...], Distribution]] = {}


def count(name: str, *labels: str, by: int = 1) -> None:
    """Count something that happened: `count("limit_exceeded", "tenant", "tails")`."""
    _COUNTS[name, *labels] += by


def counts() -> dict[tuple[str, ...], int]:
    """Return each count by its name and labels, as they are now."""
    return {key: each.number for key, each in _TALLIES.items()} | _COUNTS


def tally(name: str, *labels: str) -> Tally:
    """Return the count of this name and these labels; nothing else counts under them."""
    return _TALLIES.setdefault((name, *labels), Tally())


def distribution(name: str, *labels: str, bounds: Sequence[float] = SHORT_S) -> Distribution:
    """Return the distribution of a measured value: `distribution("append_seconds").add(took_s)`."""
    key = (name, *labels)
    present = _DISTRIBUTIONS.get(key)
    if present is None:
        present = _DISTRIBUTIONS[key] = Distribution(bounds)
    return present


def distributions() -> dict[tuple[str, ...], Distribution]:
    """Return each distribution by its name and labels."""
    return dict(_DISTRIBUTIONS)
