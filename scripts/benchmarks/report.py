"""Tables and plots of what was measured, and their way into the README."""

import re
from collections.abc import Mapping
from html import escape
from typing import Final

from scripts.benchmarks.benchmark import Benchmark, Figures
from scripts.benchmarks.rig import ROOT, machine

RESULTS: Final = ROOT / "bench-results"
README: Final = ROOT / "README.md"
BEGIN: Final = "<!-- bench -->"
END: Final = "<!-- /bench -->"

WIDTH: Final = 720
LABELS: Final = 170
BAR: Final = 18
GAP: Final = 12
COLOURS: Final = ("#9aa5b1", "#d08770", "#2f6f8f", "#7a5ea8")
_SMALL: Final = 0.01
_TENS: Final = 10
_HUNDREDS: Final = 100


def table(benchmark: Benchmark, results: Mapping[str, Figures], measured: str) -> str:
    """Return the section of one benchmark: title, table, how it was measured."""
    systems = list(results)
    columns = ["", *systems]
    if benchmark.ratio:
        columns.append(" ÷ ".join(benchmark.ratio))
    rule = ["---", *["---:"] * (len(columns) - 1)]
    lines = [f"**{benchmark.title}** (`{benchmark.name}`)", "", _row(columns), _row(rule)]
    names = list(dict.fromkeys(name for figures in results.values() for name in figures))
    for name in names:
        cells = [name, *(_number(results[system].get(name)) for system in systems)]
        if benchmark.ratio:
            above, below = (results[system].get(name) for system in benchmark.ratio)
            cells.append(_number(above / below) if above and below else "")
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
    """Write table and plot to the folder of results; return the table. Quick results never reach the README."""
    RESULTS.mkdir(exist_ok=True)
    measured = f"Median of {runs} runs." if runs > 1 else "One run."
    text = table(
        benchmark, results, f"**Quick, so smaller and rougher than it says.** {measured}" if quick else measured
    )
    name = f"{benchmark.name}-quick" if quick else benchmark.name
    (RESULTS / f"{name}.md").write_text(text)
    (RESULTS / f"{name}.svg").write_text(plot(benchmark, results))
    return text


def into_readme(names: list[str]) -> None:
    """Copy the newest tables between the README's markers, in this order.

    Raises:
        SystemExit: The README has no such markers.
    """
    text = README.read_text()
    if BEGIN not in text or END not in text:
        raise SystemExit(f"README.md has no {BEGIN} … {END}")
    tables = [path.read_text() for name in names if (path := RESULTS / f"{name}.md").exists()]
    inside = f"{BEGIN}\n" + "\n".join(tables) + END
    README.write_text(re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: inside, text, flags=re.DOTALL))


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if value == 0 or abs(value) >= _HUNDREDS:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= _TENS else f"{value:.2f}"
