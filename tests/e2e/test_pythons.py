"""`scripts/pythons` says by which Pythons this machine can test the project, and the container's is one of them."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLASSIFIER = "Programming Language :: Python :: "


def promised() -> list[str]:
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    return [name.removeprefix(CLASSIFIER) for name in classifiers if name.startswith(CLASSIFIER)]


def put_python(path: Path, version: str, status: int = 0) -> Path:
    """Write a stand-in for a Python, which says its version; one of pyenv that is not chosen says nothing and fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {version}\nexit {status}\n")
    path.chmod(0o755)
    return path


def listed(folder: Path) -> dict[str, str]:
    """Run the script on a machine that has the stand-ins alone."""
    environment = {"PATH": f"{folder / 'bin'}:/usr/bin:/bin", "PYENV_ROOT": str(folder / "pyenv")}
    done = subprocess.run((ROOT / "scripts/pythons",), env=environment, capture_output=True, text=True, check=True)
    return dict(line.split() for line in done.stdout.splitlines())


def test_each_python_is_named_with_its_path(tmp_path: Path) -> None:
    paths = {version: put_python(tmp_path / "bin" / f"python{version}", version) for version in promised()}
    assert listed(tmp_path) == {version: str(path) for version, path in paths.items()}


@pytest.mark.parametrize(("version", "status"), [("", 127), ("3.9", 0)], ids=["fails", "another"])
def test_one_that_is_not_what_it_is_called_does_not_count(tmp_path: Path, version: str, status: int) -> None:
    for name in promised():
        put_python(tmp_path / "bin" / f"python{name}", version, status)
    assert listed(tmp_path) == dict.fromkeys(promised(), "-")


def test_pyenvs_versions_are_looked_at_after_the_path(tmp_path: Path) -> None:
    for version in promised():
        put_python(tmp_path / "bin" / f"python{version}", "", 127)
    chosen = put_python(tmp_path / "pyenv/versions/3.13.0/bin/python", "3.13")
    assert listed(tmp_path) == dict.fromkeys(promised(), "-") | {"3.13": str(chosen)}


def test_the_containers_python_and_the_oldest_that_installs_are_promised() -> None:
    images = set(re.findall(r"^ARG PYTHON=python:(\d+\.\d+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    floor = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    assert images | {floor} <= set(promised())
    assert (len(images), floor) == (1, min(promised(), key=lambda version: int(version.partition(".")[2])))
