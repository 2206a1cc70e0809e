"""What this process has counted since it started, for operators: plain numbers, which `/metrics` is to show.

Labels come from fixed lists, and never from a client, because each combination of them stays in memory.
"""

from collections import Counter
from typing import Final

_COUNTS: Final[Counter[tuple[str, ...]]] = Counter()


def count(name: str, *labels: str, by: int = 1) -> None:
    """Count something that happened: `count("limit_exceeded", "tenant", "tails")`."""
    _COUNTS[name, *labels] += by


def counts() -> dict[tuple[str, ...], int]:
    """Return each count by its name and labels, as they are now."""
    return dict(_COUNTS)
