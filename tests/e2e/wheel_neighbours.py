"""Our wheel beside the packages of PyPI that are called `broker` and `worker`: each keeps its own files.

Operation/Ours. `scripts/try` runs this by name, with the wheel that `scripts/pack` has made.
"""

import hashlib
import signal
import subprocess
import sys
import sysconfig
import zipfile
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

from tests.e2e.packages import packed
from tests.e2e.running_up import Up

NEIGHBOURS = ("broker", "worker")
SAYS_WHERE = "import {0}; print({0}.__file__)"


def neighbour(name: str, folder: Path) -> Path:
    """Make a wheel that holds one top-level package called as its distribution is, as those of PyPI do."""
    info = f"{name}-0.8.11.dist-info"
    files = {
        f"{name}/__init__.py": f'NAME = "the other {name}"\n',
        f"{name}/cli.py": "raise SystemExit('another program ran')\n",
        f"{name}/__main__.py": "raise SystemExit('another program ran')\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.8.11\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [
        f"{path},sha256={urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')},{len(text)}"
        for path, text in files.items()
    ]
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""])
    wheel = folder / f"{name}-0.8.11-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel


class Environment:
    """A virtual environment of its own; it borrows the present one's packages once ours and theirs are installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run((sys.executable, "-m", "venv", "--without-pip", folder), check=True)
        self.python = folder / "bin" / "python"

    def pip(self, *words: str | Path) -> None:
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "--python", self.python)
        subprocess.run((*pip, *words), check=True)

    def borrow_packages(self) -> None:
        """Make the dependencies importable; a path in a `.pth` file comes last, after what is installed here."""
        (site_packages,) = self.folder.glob("lib/*/site-packages")
        (site_packages / "present.pth").write_text(sysconfig.get_path("purelib"))

    def says(self, code: str) -> str:
        done = subprocess.run(
            (self.python, "-P", "-c", code), capture_output=True, text=True, check=True, cwd=self.folder
        )
        return done.stdout.strip()


def test_the_wheel_holds_no_top_level_name_but_ours() -> None:
    """A package of PyPI that is called `broker` or `worker` overwrites nothing of ours, nor we of it."""
    with zipfile.ZipFile(packed("*.whl")) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"midstream", "midstream_worker"}


@pytest.mark.parametrize("ours_first", [True, False], ids=["ours first", "theirs first"])
def test_ours_and_theirs_work_side_by_side_and_alone(tmp_path: Path, *, ours_first: bool) -> None:
    ours = packed("*.whl")
    theirs = [neighbour(name, tmp_path) for name in NEIGHBOURS]
    environment = Environment(tmp_path / "environment")
    install = ("install", "--no-index", "--no-deps")
    for wheels in ([ours], theirs) if ours_first else (theirs, [ours]):
        environment.pip(*install, *wheels)
    environment.borrow_packages()

    for name in ("midstream", "midstream_worker"):
        assert environment.says(SAYS_WHERE.format(name)).startswith(str(environment.folder))
    for name in NEIGHBOURS:
        assert environment.says(f"import {name}; print({name}.NAME)") == f"the other {name}"
    up = Up(tmp_path / "data", program=(str(environment.folder / "bin" / "midstream"), "up"))
    try:
        words = (environment.folder / "bin" / "midstream", "start", "Hello.", "--model", "demo/count", "--url", up.url)
        answer = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    finally:
        up.end(signal.SIGINT)
    assert answer.strip()

    environment.pip("uninstall", "--yes", *(NEIGHBOURS if ours_first else ["midstream"]))
    if ours_first:
        assert environment.says("import midstream; print(midstream.Midstream.__name__)") == "Midstream"
    else:
        assert environment.says("import broker, worker; print(broker.NAME)") == "the other broker"
