"""Tables and plots of what was measured, their place in docs/benchmarks.md, and their summary in the README."""

import re
from collections.abc import Mapping
from html import escape
from itertools import pairwise
from typing import Final

from scripts.benchmarks.benchmark import OBVIOUS, OURS, Benchmark, Figures
from scripts.benchmarks.rig import ROOT, machine

RESULTS: Final = ROOT / "bench-results"
TABLES: Final = ROOT / "docs" / "benchmarks.md"
README: Final = ROOT / "README.md"
BEGIN: Final = "<!-- bench -->"
END: Final = "<!-- /bench -->"

WIDTH: Final = 720
LABELS: Final = 170
BAR: Final = 18
GAP: Final = 12
COLOURS: Final = ("#9aa5b1", "#d08770", "#2f6f8f", "#7a5ea8")
_SECTION: Final = re.compile(r"^\*\*.*?\*\* \(`([\w-]+)`\)$", re.MULTILINE)
_ALIKE: Final = 1.05
_TENS: Final = 10
_HUNDREDS: Final = 100


def table(benchmark: Benchmark, results: Mapping[str, Figures], measured: str) -> str:
    """Return the section of one benchmark: title, table, how it was measured."""
    systems = list(results)
    columns = ["", *systems]
    if benchmark.ratio:
        ours, theirs = benchmark.ratio
        columns.append(f"{ours}, beside {theirs}")
    rule = ["---", *["---:"] * (len(columns) - 1)]
    lines = [f"**{benchmark.title}** (`{benchmark.name}`)", "", _row(columns), _row(rule)]
    names = list(dict.fromkeys(name for figures in results.values() for name in figures))
    for name in names:
        cells = [name, *(_number(results[system].get(name)) for system in systems)]
        if benchmark.ratio:
            cells.append(_beside(*(results[system].get(name) for system in benchmark.ratio)))
        lines.append(_row(cells))
    lines += ["", f"{benchmark.note} {measured} {machine()}.", ""]
    return "\n".join(lines)


def plot(benchmark: Benchmark, results: Mapping[str, Figures]) -> str:
    """Return an SVG of bars, a group for each plotted figure."""
    parts: list[str] = []
    top = 44
    for name in benchmark.plotted:
        values = {system: figures[name] for system, figures in results.items() if name in figures}
        most = max(values.values(), default=0) or 1
        parts.append(f'<text x="12" y="{top}" font-weight="bold">{escape(name)}</text>')
        top += 8
        for number, (system, value) in enumerate(values.items()):
            width = max(1.0, value / most * (WIDTH - LABELS - 90))
            middle = top + BAR - 5
            colour = COLOURS[number % len(COLOURS)]
            parts.append(f'<text x="{LABELS - 8}" y="{middle}" text-anchor="end">{escape(system)}</text>')
            parts.append(f'<rect x="{LABELS}" y="{top}" width="{width:.1f}" height="{BAR - 4}" fill="{colour}"/>')
            parts.append(f'<text x="{LABELS + width + 6:.1f}" y="{middle}">{_number(value)}</text>')
            top += BAR
        top += GAP + BAR
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" viewBox="0 0 {WIDTH} {top}" '
        'font-family="sans-serif" font-size="12" fill="#222"><rect width="100%" height="100%" fill="#fff"/>'
    )
    title = f'<text x="12" y="20" font-size="14">{escape(benchmark.title)}</text>'
    return "\n".join([head, title, *parts, "</svg>", ""])


def save(benchmark: Benchmark, results: Mapping[str, Figures], runs: int, *, quick: bool) -> str:
    """Write table and plot to the folder of results; return the table. Quick results never reach the docs."""
    RESULTS.mkdir(exist_ok=True)
    measured = f"Median of {runs} runs." if runs > 1 else "One run."
    text = table(
        benchmark, results, f"**Quick, so smaller and rougher than it says.** {measured}" if quick else measured
    )
    name = f"{benchmark.name}-quick" if quick else benchmark.name
    (RESULTS / f"{name}.md").write_text(text)
    (RESULTS / f"{name}.svg").write_text(plot(benchmark, results))
    return text


def into_docs(benchmarks: Mapping[str, Benchmark]) -> None:
    """Copy the newest tables into docs/benchmarks.md, in this order, and their summary into the README.

    A benchmark that was not measured here keeps the table that it has.
    """
    current = TABLES.read_text()
    sections = tables_in(current)
    sections |= {name: path.read_text() for name in benchmarks if (path := RESULTS / f"{name}.md").exists()}
    inside = "\n".join(f"{sections[name].strip()}\n" for name in benchmarks if name in sections)
    TABLES.write_text(_between_markers(current, inside, TABLES.name))
    README.write_text(summarised(README.read_text(), TABLES.read_text(), benchmarks))


def tables_in(docs: str) -> dict[str, str]:
    """Return the sections of docs/benchmarks.md by the names of their benchmarks."""
    inside = docs.partition(BEGIN)[2].partition(END)[0]
    heads = list(_SECTION.finditer(inside))
    bounds = pairwise([*(head.start() for head in heads), len(inside)])
    return {head[1]: inside[start:end].strip() for head, (start, end) in zip(heads, bounds, strict=True)}


def summarised(readme: str, docs: str, benchmarks: Mapping[str, Benchmark]) -> str:
    """Return the README with a summary of the tables in docs/benchmarks.md: each benchmark's headline.

    Raises:
        SystemExit: A marker, a table or a figure is missing.
    """
    systems = (OBVIOUS, "nginx + nchan", OURS)
    rows = [_row(["", *systems]), _row(["---", *["---:"] * len(systems)])]
    sections = tables_in(docs)
    for name, benchmark in benchmarks.items():
        for figure, words in benchmark.headlines.items():
            cells = _cells(sections.get(name, ""), figure)
            rows.append(_row([words, *(cells.get(system, "") for system in systems)]))
    return _between_markers(readme, "\n".join([*rows, ""]), README.name)


def _cells(section: str, figure: str) -> dict[str, str]:
    """Return the cells of one row of a section's table, by their columns."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "|" in line]
    matching = [row for row in rows if row[0] == figure]
    if not matching:
        raise SystemExit(f"{TABLES.name} has no row {figure!r}")
    return dict(zip(rows[0], matching[0], strict=True))


def _between_markers(text: str, inside: str, name: str) -> str:
    if BEGIN not in text or END not in text:
        raise SystemExit(f"{name} has no {BEGIN} … {END}")
    return f"{text.partition(BEGIN)[0]}{BEGIN}\n{inside}{END}{text.partition(END)[2]}"


def _beside(ours: float | None, theirs: float | None) -> str:
    """Return how much more or less ours is, in words: a bare ratio is read the wrong way round, or is 0.00."""
    if not ours or not theirs:
        return ""
    times = max(ours, theirs) / min(ours, theirs)
    if times < _ALIKE:
        return "about the same"
    return f"{_number(times)} times {'more' if ours > theirs else 'less'}"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if value == 0 or abs(value) >= _HUNDREDS:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= _TENS else f"{value:.2f}"
