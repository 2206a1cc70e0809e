"""The embedded server as a child of an app's own process, for development (PROTOCOL: Router/Embedded)."""

import asyncio
import logging
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from midstream.embedded.awaited_reply import POLL_S, replies
from midstream.embedded.data_folder import FolderError, FolderTakenError, Users, lock
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
    address = f"unix://{quote(path)}"
    async with AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(START_S):
                descriptor, users = await _locked(settings.data_dir, path)
        except TimeoutError:
            raise ServerError(f"the process that has {settings.data_dir} serves no log at {path}") from None
        if descriptor is not None:
            stack.callback(os.close, descriptor)
        stack.callback(users.leave)  # before the folder is anybody else's
        if descriptor is None:
            logger.warning("MIDSTREAM_REDIS_URL is not set: the server that has %s is used", settings.data_dir)
        else:
            await stack.enter_async_context(_running(settings, path, descriptor))
            stack.push_async_callback(_until_alone, users, settings.drain_s + settings.broker_drain_ms / 1_000)
            logger.warning("MIDSTREAM_REDIS_URL is not set: this process runs a server in %s", settings.data_dir)
        yield address


async def _locked(folder: Path, path: str) -> tuple[int | None, Users]:
    """Return the lock of the folder, or None as soon as the one who has it serves; and a part in the server's use."""
    users: Users | None = None
    try:
        while True:
            descriptor: int | None = None
            with suppress(FolderTakenError):
                descriptor = lock(folder)
            users = users or Users(folder)
            is_joined = users.join()
            if descriptor is not None:
                return descriptor, users
            if is_joined and await replies(lambda: asyncio.open_unix_connection(path), *PING):
                return None, users
            await asyncio.sleep(POLL_S)
    except BaseException:
        if users is not None:
            users.leave()
        raise


async def _until_alone(users: Users, limit_s: float) -> None:
    """Return when no other process uses the server, or after so long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            while not users.are_gone():  # noqa: ASYNC110 - no event comes from other processes
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
