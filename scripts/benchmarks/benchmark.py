"""What a benchmark is: the same thing done by several systems, run by run in turn."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median

Figures = Mapping[str, float]
"""What one run of one system came to; each name ends in its unit."""

OBVIOUS = "obvious way"
OURS = "midstream"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One benchmark.

    Attributes:
        name: As it is asked for.
        title: What is measured, in a few words.
        note: How, in a sentence or two: it stands below the table.
        systems: Each system's name and one run of it; told whether to be quick.
        plotted: The figures that the plot shows.
        ratio: Ours and the system that it is compared with; None where there is nothing beside ours.
        headlines: The figures that the README's summary shows, and what it calls them.
    """

    name: str
    title: str
    note: str
    systems: Mapping[str, Callable[[bool], Figures]]
    plotted: tuple[str, ...]
    ratio: tuple[str, str] | None = (OURS, OBVIOUS)
    headlines: Mapping[str, str] = field(default_factory=dict)


def medians(runs: list[Figures]) -> Figures:
    """Return each figure's median over the runs."""
    return {name: median(run[name] for run in runs) for name in runs[0]}


def percentile(values: list[float], share: float) -> float:
    """Return the value that this share of all values is below."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
