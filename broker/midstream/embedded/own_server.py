"""The embedded server as a child of an app's own process, for development (PROTOCOL: Router/Embedded)."""

import asyncio
import logging
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from midstream.embedded.awaited_reply import POLL_S, replies
from midstream.embedded.data_folder import FolderError, FolderTakenError, lock
from midstream.embedded.dying_child import dying_with_this_process
from midstream.embedded.valkey_words import LONGEST_SOCKET_PATH, OWNER_ALONE, PING, valkey_words
from midstream.settings import Settings

logger = logging.getLogger(__name__)

START_S: Final = 30.0
"""Longest wait for a server that reads its data, and for one whose process is ending."""
STOP_S: Final = 10.0
STDERR: Final = 2


class ServerError(Exception):
    """The embedded server did not start."""


@asynccontextmanager
async def own_server(settings: Settings) -> AsyncIterator[str]:
    """Run the embedded server, or find the one that has the data folder already; return its address.

    A second process of the same app, and an app beside `midstream up`, share the server of the first one.

    Raises:
        FolderError: The folder cannot be used.
        NotInstalledError: There is no embedded server.
        ServerError: It did not start in time.
    """
    path = str(settings.data_dir.absolute() / "valkey" / "socket")
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
        raise FolderError(f"MIDSTREAM_DATA_DIR: {path} is too long for the path of a socket")
    try:
        async with asyncio.timeout(START_S):
            descriptor = await _locked(settings.data_dir, path)
    except TimeoutError:
        raise ServerError(f"the process that has {settings.data_dir} serves no log at {path}") from None
    address = f"unix://{quote(path)}"
    if descriptor is None:
        logger.warning("MIDSTREAM_REDIS_URL is not set: the server that has %s is used", settings.data_dir)
        yield address
        return
    try:
        async with _running(settings, path, descriptor):
            logger.warning("MIDSTREAM_REDIS_URL is not set: this process runs a server in %s", settings.data_dir)
            yield address
    finally:
        os.close(descriptor)


async def _locked(folder: Path, path: str) -> int | None:
    """Return the lock of the folder, or None as soon as the one who has it serves."""
    while True:
        try:
            return lock(folder)
        except FolderTakenError:
            if await replies(lambda: asyncio.open_unix_connection(path), *PING):
                return None
            await asyncio.sleep(POLL_S)


@asynccontextmanager
async def _running(settings: Settings, path: str, descriptor: int) -> AsyncIterator[None]:
    # Not asyncio's subprocess: uvloop's knows no umask, and its own watch of children has to be in the main thread.
    process = subprocess.Popen(  # noqa: ASYNC220, S603 - it returns at once, and runs the embedded server
        dying_with_this_process(*valkey_words(settings, path)),
        stdin=subprocess.DEVNULL,
        stdout=STDERR,
        start_new_session=True,  # so that Ctrl-C reaches this process alone, which ends the server after its streams
        pass_fds=(descriptor,),
        umask=OWNER_ALONE,
    )
    try:
        await _ready(process, path)
        yield
    finally:
        process.terminate()
        await asyncio.to_thread(_wait, process)


async def _ready(process: subprocess.Popen[bytes], path: str) -> None:
    try:
        async with asyncio.timeout(START_S):
            while not await replies(lambda: asyncio.open_unix_connection(path), *PING):
                if process.poll() is not None:
                    raise ServerError("the embedded server ended at its start; it says why on stderr")
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise ServerError(f"the embedded server was not ready in {START_S:g} s") from None


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
