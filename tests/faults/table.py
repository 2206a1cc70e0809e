"""The result as a table: for the terminal, and for a file."""

import platform
from collections.abc import Iterable, Mapping, Sequence

from tests.faults.trial import Trial

HEAD = (
    "family",
    "cases",
    "violated",
    "paid calls, most",
    "outcomes",
    "death → life sign minus lease, ms: p50 / p99 / max",
    "without a CPU, all processes, most, ms",
    "own latency, ms: p50 / p99 / max",
    "client's longest pause, ms: p50 / p99 / max",
)


def table(trials: Sequence[Trial]) -> str:
    """Return a Markdown table with a row for each family."""
    families = dict.fromkeys(trial.case.family for trial in trials)
    rows = [_row(name, [trial for trial in trials if trial.case.family == name]) for name in families]
    rows.append(_row("**all**", trials))
    lines = [" | ".join(row) for row in (HEAD, ["---"] * len(HEAD), *rows)]
    return "\n".join(f"| {line} |" for line in lines)


def document(runs: Mapping[str, Sequence[Trial]], seed: int, seconds: float, leaks: Iterable[str]) -> str:
    """Return a table for each kind of server, with what one must know to repeat them."""
    left = list(leaks)
    trials = [trial for run in runs.values() for trial in run]
    tables = "\n".join(f"\n## {server}\n\n{table(run)}\n" for server, run in runs.items())
    return (
        f"# Faults\n\n`scripts/faults --all --seed {seed}`: {len(trials)} cases in {seconds:.0f} s, "
        f"{sum(bool(trial.violations) for trial in trials)} violated; {platform.system()}, Python "
        f"{platform.python_version()}.\nLeft over: {'; '.join(left) or 'nothing'}.\n{tables}"
    )


def _row(name: str, trials: Sequence[Trial]) -> list[str]:
    outcomes: dict[str, int] = {}
    for trial in trials:
        outcomes[trial.outcome or "gone"] = outcomes.get(trial.outcome or "gone", 0) + 1
    return [
        name,
        str(len(trials)),
        str(sum(bool(trial.violations) for trial in trials)),
        str(max((len(trial.calls) for trial in trials), default=0)),
        ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items())),
        _spread(trial.late_ms for trial in trials),
        f"{max((trial.starved_ms for trial in trials), default=0):.0f}",
        _spread(trial.latency_ms for trial in trials),
        _spread(reader.longest_pause_ms for trial in trials for reader in trial.readers if len(reader.events) > 1),
    ]


def _spread(values: Iterable[float | None]) -> str:
    measured = sorted(value for value in values if value is not None)
    if not measured:
        return "-"
    p50, p99 = measured[len(measured) // 2], measured[min(len(measured) - 1, len(measured) * 99 // 100)]
    return f"{p50:.0f} / {p99:.0f} / {measured[-1]:.0f}"
