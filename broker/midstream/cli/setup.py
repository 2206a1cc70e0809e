"""What a server process needs before it starts: checked settings, a port, a data directory of its own."""

import difflib
import fcntl
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click
from pydantic import ValidationError
from pydantic_settings import SettingsError

from midstream.cli.terminal import echo
from midstream.requests.catalogue import LOCAL_MODEL, MissingProviderKey, UnknownModel, resolve
from midstream.settings import PREFIX, Settings, variable_of

CLIENT_VARIABLES: Final = frozenset(("MIDSTREAM_URL", "MIDSTREAM_API_KEY"))
"""Options of the commands on streams; another program's as far as a broker or worker is concerned."""
TYPO_LIKENESS: Final = 0.75
"""How like a setting's name another one must be to be taken for it (`difflib`'s measure): a letter or two apart."""
BACKLOG: Final = 2_048
PRIVATE: Final = 0o700


class SetupError(click.ClickException):
    """It can not start like this; the message says what to change. Exit status 2, as for wrong usage."""

    exit_code = 2


def load_settings(*, listens: bool = True, **flags: Any) -> Settings:
    """Return the environment's settings, with the flags that were given (not None) over them.

    Args:
        listens: They are a broker's, whose port others may reach.
        flags: Settings by their names; None for what the environment is asked.

    Raises:
        SetupError: A variable is unknown, or a value is wrong or cannot work; the message names the variable.
    """
    _check_names(os.environ)
    try:
        settings = Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        # `msg` alone: `input` may be a secret.
        lines = [_variable(problem["loc"]) + problem["msg"].removeprefix("Value error, ") for problem in error.errors()]
        raise SetupError("\n".join(lines)) from None
    except SettingsError as error:
        field = re.search(r'field "(\w+)"', str(error))
        raise SetupError(f"{_variable(field.groups() if field else ())}not JSON") from None
    if listens and (reason := settings.why_not_listen()):
        raise SetupError(reason)
    _check_default_model(settings)
    return settings


def _check_names(environment: Mapping[str, str]) -> None:
    """Refuse a variable that is nearly one of ours, and warn of other unknown ones.

    Those may be of a later version, or of somebody else: Kubernetes makes up MIDSTREAM_SERVICE_HOST.
    """
    known = {variable_of(name) for name in Settings.model_fields} | CLIENT_VARIABLES
    names = {name.removeprefix(PREFIX): name for name in known if name.startswith(PREFIX)}
    unknown = sorted(name for name in environment if name.upper().startswith(PREFIX) and name.upper() not in known)
    for name in unknown:
        near = difflib.get_close_matches(name.upper().removeprefix(PREFIX), names, n=1, cutoff=TYPO_LIKENESS)
        if near:
            raise SetupError(f"{name}: there is no such setting; did you mean {names[near[0]]}?")
        echo(f"Warning: {name}: there is no such setting; `midstream config` lists them", err=True)


def _check_default_model(settings: Settings) -> None:
    if settings.default_model == LOCAL_MODEL:
        return  # `up` brings its server, which is not there yet
    try:
        resolve(None, settings)
    except (UnknownModel, MissingProviderKey) as error:
        raise SetupError(f"{variable_of('default_model')}: {error}") from None


UNSENT_BYTES: Final = 131_072
"""What the kernel takes for a client beyond what is on its way to it.

Without it a client that never reads is given 2.8 MB before anybody notices.
"""


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes a free one.

    Raises:
        SetupError: The port is taken, or the address is not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise SetupError(f"can not listen on {host} port {port}: {reason}; choose another with --port") from None
    # Its connections inherit both. asyncio's loop sets the first only where a socket was made with a protocol number.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # Linux, macOS
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    return listener


def lock(directory: Path) -> int:
    """Take a data directory for this process; returns the open file that holds the lock until it is closed.

    A child that inherits the file holds the lock too: it is kept as long as anything may write there.

    Raises:
        SetupError: Another process has it, or it can not be written.
    """
    try:
        directory.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
    except OSError as error:
        raise SetupError(f"MIDSTREAM_DATA_DIR={directory}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        os.close(descriptor)
        raise SetupError(
            f"{directory} is in use by another `midstream up` (process {holder}); stop it, or give --data-dir"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def url_of(host: str, port: int) -> str:
    """Return the URL by which this machine reaches what listens on `host`."""
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _variable(location: tuple[int | str, ...]) -> str:
    if not location:
        return ""
    name = str(location[0])
    return f"{variable_of(name)}: " if name in Settings.model_fields else f"{name}: "
