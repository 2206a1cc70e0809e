"""A copy of the checkout's scripts with what they install in place already, so that running them asks no registry."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = ("scripts/up", "scripts/install", "pyproject.toml", "requirements/up.txt", "requirements/local-model.txt")


def checkout(folder: Path) -> Path:
    """Return a folder with the scripts, nothing installed."""
    for name in ("scripts", "requirements"):
        (folder / name).mkdir(parents=True)
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    return folder


def installed_checkout(folder: Path) -> Path:
    """Return a folder with the scripts and this environment's `midstream`, as `scripts/install up` leaves it."""
    return installed(checkout(folder))


def installed(folder: Path) -> Path:
    """Return the folder, a checkout's, with this environment's `midstream` in place."""
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "midstream").symlink_to(Path(sys.executable).with_name("midstream"))
    sum_of = "cat pyproject.toml requirements/up.txt requirements/local-model.txt scripts/install | cksum"
    checksum = subprocess.run(["bash", "-c", sum_of], cwd=folder, capture_output=True, check=True).stdout
    for stamp in ("up-with", "up-no-local-model"):
        (folder / ".venv" / f".installed-{stamp}").write_bytes(checksum)
    return folder
