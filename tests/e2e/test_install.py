"""`scripts/install` where it cannot do its work: it says why, in a line; and pip is heard only where it fails."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.checkout import checkout

NOBODY = 65_534
FAKE_PYTHON = """#!/bin/bash
case "$*" in
  *" pip "*) echo "WARNING: an index is away" >&2; exit ${PIP_STATUS:-0} ;;
  "-m venv .venv") mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
esac
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Outside of pytest's own folders, which nobody else may enter."""
    parent = Path(tempfile.mkdtemp())
    parent.chmod(0o755)
    yield checkout(parent / "midstream")
    parent.chmod(0o755)
    shutil.rmtree(parent)


def install(folder: Path, user: int | None = None, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run it with a stand-in for Python, which installs nothing."""
    python = folder.parent / "python"
    python.write_text(FAKE_PYTHON)
    python.chmod(0o755)
    return subprocess.run(
        [folder / "scripts" / "install", "up"],
        env=os.environ | {"PYTHON": str(python)} | environment,
        user=user,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_checkout_that_can_not_be_written_is_told(folder: Path) -> None:
    folder.chmod(0o555)
    done = install(folder, user=NOBODY if os.geteuid() == 0 else None)
    folder.chmod(0o755)
    assert done.returncode == 1
    assert done.stderr == (
        f"midstream is installed into {folder}/.venv, and that can not be written; use a checkout of your own\n"
    )


def test_pip_is_quiet_where_it_succeeds(folder: Path) -> None:
    done = install(folder)
    assert (done.returncode, done.stderr) == (0, "Installing into .venv (the first time takes a minute) ...\n")


def test_pip_is_heard_where_it_fails(folder: Path) -> None:
    done = install(folder, PIP_STATUS="1")
    assert done.returncode == 1
    assert "an index is away" in done.stderr
