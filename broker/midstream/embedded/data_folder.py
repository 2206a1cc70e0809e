"""The data folder of an embedded server: one process has it at a time."""

import fcntl
import os
from pathlib import Path
from typing import Final

USERS: Final = "users"
"""The file whose lock each process shares that uses the folder's server."""
PRIVATE: Final = 0o700
PRIVATE_FILE: Final = 0o600


class FolderError(Exception):
    """The folder cannot be used."""


class FolderTakenError(FolderError):
    """Another process has it."""


def lock(directory: Path) -> int:
    """Lock a data directory for this process, and return the open file that holds the lock until it is closed.

    A child that inherits the file holds the lock too, so the lock is kept as long as any process may write there.

    Raises:
        FolderTakenError: Another process holds the lock.
        FolderError: The directory cannot be written.
    """
    try:
        directory.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    except OSError as error:
        raise FolderError(f"MIDSTREAM_DATA_DIR={directory}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        os.close(descriptor)
        raise FolderTakenError(f"{directory} is in use by another `midstream up` (process {holder})") from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


class Users:
    """One process' part in a lock that all users of the folder's server share, so that its owner can wait for them.

    Args:
        directory: The data folder, which is there.

    Raises:
        FolderError: It cannot be written.
    """

    def __init__(self, directory: Path) -> None:
        try:
            self._file = os.open(directory / USERS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
        except OSError as error:
            raise FolderError(f"MIDSTREAM_DATA_DIR={directory}: {error.strerror}") from None

    def join(self) -> bool:
        """Take part in the lock; return False if the server is being stopped."""
        return self._lock(fcntl.LOCK_SH)

    def are_gone(self) -> bool:
        """Tell whether nobody else takes part; then nobody can join any more until this one leaves."""
        return self._lock(fcntl.LOCK_EX)

    def leave(self) -> None:
        """Take part no longer."""
        os.close(self._file)

    def _lock(self, kind: int) -> bool:
        try:
            fcntl.flock(self._file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
