"""Looks whether an operator's file has changed, so that it is read again while the process runs."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

LOOK_S: Final = 4.5
"""How often the file is looked at: what it says now holds within 5 s."""
SETTLE_S: Final = 0.3
"""A file that was changed is read when it has been the same for so long: an editor may still write it."""


class FileWatch:
    """Calls a function after each change of a file.

    Args:
        path: The file, which need not be there; None: nothing is looked at.
        changed: Called after a change; it raises nothing.
    """

    def __init__(self, path: Path | None, changed: Callable[[], None]) -> None:
        self._path = path
        self._changed = changed
        self._version = self._look()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look from now on; a change since this object was made counts."""
        if self._path is not None:
            self._task = asyncio.create_task(self._run(), name=f"watch of {self._path.name}")

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            version = self._look()
            if version == self._version:
                continue
            await asyncio.sleep(SETTLE_S)
            if version == self._look():
                self._version = version
                self._changed()

    def _look(self) -> tuple[int, int, int] | None:
        """Return what tells one content of the file from another; None: it cannot be looked at."""
        if self._path is None:
            return None
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_ino, stat.st_size
