"""SECURITY.md: each line of the threat model names tests that show it, and those exist."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text()
ROW = re.compile(r"^\| (?!who could try what|---)(.+) \| (.+) \| (.+) \|$", re.MULTILINE)


def names_of_tests() -> set[str]:
    return {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def test_every_threat_names_a_test_and_every_named_test_exists() -> None:
    rows = ROW.findall(PAGE)
    assert len(rows) > 30
    assert [threat for threat, _, tests in rows if not re.findall(r"`test_\w+`", tests)] == []
    named = {name for name in re.findall(r"\btest_\w+", PAGE) if not PAGE.count(f"{name}.py")}
    assert named - names_of_tests() == set()


def test_what_is_not_covered_is_told() -> None:
    _, _, rest = PAGE.partition("## What is not covered")
    assert len(re.findall(r"^- \*\*", rest, re.MULTILINE)) > 5
