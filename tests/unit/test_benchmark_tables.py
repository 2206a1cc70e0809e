"""What scripts/bench writes: tables that a reader understands, each in its place, and their summary in the README."""

from pathlib import Path

import pytest

from scripts.benchmarks import report
from scripts.benchmarks.benchmark import OBVIOUS, OURS, Benchmark, Figures
from scripts.benchmarks.catalogue import BENCHMARKS
from scripts.benchmarks.report import summarised, table, tables_in

ROOT = Path(__file__).parents[2]
MEASURED = "One run."


def measured_by(name: str = "one", **headlines: str) -> Benchmark:
    return Benchmark(name, "What it is", "How.", {}, ("rate",), headlines=headlines)


def last_cell(ours: float, theirs: float) -> str:
    text = table(measured_by(), {OBVIOUS: {"rate": theirs}, OURS: {"rate": ours}}, MEASURED)
    row = next(line for line in text.splitlines() if line.startswith("| rate"))
    return row.split("|")[-2].strip()


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        (12_682_447, 49_863, "254 times more"),
        (11.9, 4_018, "338 times less"),
        (0.28, 4.19, "15.0 times less"),
        (96.1, 99.7, "about the same"),
        (0, 5, ""),
        (5, 0, ""),
    ],
)
def test_a_comparison_says_in_words_which_is_more(ours: float, theirs: float, words: str) -> None:
    assert last_cell(ours, theirs) == words


def test_every_benchmark_has_its_table_in_the_docs_and_its_headlines_in_the_readme() -> None:
    docs, readme = (ROOT / "docs/benchmarks.md").read_text(), (ROOT / "README.md").read_text()
    assert list(tables_in(docs)) == list(BENCHMARKS)
    assert [name for name, section in tables_in(docs).items() if f"\n{BENCHMARKS[name].note}" not in section] == []
    headlines = [words for benchmark in BENCHMARKS.values() for words in benchmark.headlines.values()]
    assert len(headlines) > 5
    assert [words for words in headlines if f"| {words} | " not in readme] == []
    assert summarised(readme, docs, BENCHMARKS) == readme, "run scripts/readme"


def test_what_was_measured_takes_its_place_and_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, docs, readme = tmp_path / "results", tmp_path / "benchmarks.md", tmp_path / "README.md"
    for name, path in {"RESULTS": results, "TABLES": docs, "README": readme}.items():
        monkeypatch.setattr(report, name, path)
    benchmarks = {
        "one": measured_by("one", rate="First, per second"),
        "two": measured_by("two", rate="Second, per second"),
    }

    def figures(ours: float) -> dict[str, Figures]:
        return {OBVIOUS: {"rate": 10.0}, OURS: {"rate": ours}}

    there = [table(benchmarks[name], figures(20), MEASURED) for name in benchmarks]
    docs.write_text("Before.\n<!-- bench -->\n" + "\n".join(there) + "<!-- /bench -->\nAfter.\n")
    readme.write_text("Words.\n<!-- bench -->\n<!-- /bench -->\nMore words.\n")

    report.save(benchmarks["two"], figures(70), 1, quick=False)
    report.save(benchmarks["one"], figures(90), 1, quick=True)  # never reaches the docs
    report.into_docs(benchmarks)

    assert tables_in(docs.read_text()).keys() == benchmarks.keys()
    assert docs.read_text().startswith("Before.\n<!-- bench -->\n**What it is** (`one`)\n")
    assert docs.read_text().endswith("<!-- /bench -->\nAfter.\n")
    assert "| First, per second | 10.0 |  | 20.0 |\n| Second, per second | 10.0 |  | 70.0 |\n" in readme.read_text()
    again = docs.read_text()
    report.into_docs(benchmarks)
    assert docs.read_text() == again


def test_a_missing_place_or_figure_is_named() -> None:
    benchmarks = {"one": measured_by("one", rate="First")}
    with pytest.raises(SystemExit, match=r"benchmarks\.md has no row 'rate'"):
        summarised("<!-- bench --><!-- /bench -->", "", benchmarks)
    with pytest.raises(SystemExit, match=r"README\.md has no <!-- bench -->"):
        summarised("", "", {})
