"""A server whose power can be cut: of its files there stays what it had made sure of with fsync, and no byte more.

SIGKILL alone loses nothing: the system still writes what it was given. What is not modelled: a rename or a new file
that a power loss undoes. Those of Redis and Valkey are followed by an fsync of their folder.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.servers import ValkeyProcess

SOURCE = Path(__file__).with_name("fsynced.c")
NOTE = "user.fsynced"


def available() -> str:
    """Return why no power can be cut here."""
    if shutil.which("gcc") is None:
        return "gcc is not installed, which builds what notes each fsync of the server"
    with tempfile.NamedTemporaryFile() as file:
        try:
            os.setxattr(file.name, NOTE, b"0")
        except (AttributeError, OSError):
            return "the file system of temporary files keeps no attributes, in which each fsync is noted"
    return ""


class MainsServer(ValkeyProcess):
    """A server that runs on mains."""

    def __init__(self, directory: Path, binary: str, appendfsync: str) -> None:
        library = directory / "fsynced.so"
        subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", library, SOURCE], check=True)
        super().__init__(directory, {"appendfsync": appendfsync}, binary, {"LD_PRELOAD": str(library)})

    def lose_power(self) -> int:
        """End the server, and return how many bytes were lost that it had written and not made sure of."""
        self.kill()
        return sum(map(_forget, (self.directory / "appendonlydir").iterdir()))


def _forget(path: Path) -> int:
    try:
        kept = int(os.getxattr(path, NOTE))
    except OSError:  # no fsync ever
        kept = 0
    lost = path.stat().st_size - kept
    if lost > 0:
        os.truncate(path, kept)
    return max(lost, 0)
