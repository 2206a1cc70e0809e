"""Files and functions stay small enough to read in one go; the tables of README and docs stay true."""

import ast
import json
import re
import runpy
import sys
import tomllib
from pathlib import Path

import pytest

from midstream.http.app import create_app
from midstream.settings import Settings

ROOT = Path(__file__).parents[2]
MAX_FILE_LINES = 320
MAX_FUNCTION_LINES = 60

PYTHON_FILES = sorted(path for room in ("broker", "worker", "tests") for path in (ROOT / room).rglob("*.py"))
SCRIPTS = sorted(path for path in (ROOT / "scripts").iterdir() if path.is_file())


def is_python(path: Path) -> bool:
    return path.suffix == ".py" or "python" in path.read_text().partition("\n")[0]


def test_files_are_small() -> None:
    sizes = {path.relative_to(ROOT): path.read_text().count("\n") for path in [*PYTHON_FILES, *SCRIPTS]}
    assert {str(path): lines for path, lines in sizes.items() if lines > MAX_FILE_LINES} == {}


def test_functions_are_short() -> None:
    sizes = {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in filter(is_python, [*PYTHON_FILES, *SCRIPTS])
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {where: lines for where, lines in sizes.items() if lines > MAX_FUNCTION_LINES} == {}


def test_no_test_file_imports_another() -> None:
    """What two test files need stands in a module of its own, so that each test file can be read and run alone."""
    imports = {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.module}"
        for path in (ROOT / "tests").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").rpartition(".")[2].startswith("test_")
    }
    assert imports == set()


def test_the_version_is_that_of_the_project_file() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert create_app(Settings()).version == version
    assert json.loads((ROOT / "broker" / "midstream" / "page" / "package.json").read_text())["version"] == version
    assert [str(path) for path in PYTHON_FILES if path != Path(__file__) and f'"{version}"' in path.read_text()] == []


def test_the_docs_list_every_setting_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    script = str(ROOT / "scripts" / "readme")
    monkeypatch.setattr(sys, "argv", [script, "--check"])
    monkeypatch.setattr(sys, "path", sys.path[:])
    # In this process, which has imported what the script needs. It exits with a message where a table is another one.
    runpy.run_path(script, run_name="__main__")

    # The count guards the script: an empty table would be "as it is" as well.
    table = re.search("<!-- settings -->(.*)<!-- /settings -->", (ROOT / "docs/settings.md").read_text(), re.DOTALL)
    assert table
    assert len(re.findall(r"^\| `[A-Z]", table[1], re.MULTILINE)) == len(Settings.model_fields)
