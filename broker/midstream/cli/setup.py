"""What a server process needs before it starts: checked settings, a port, and its own data directory."""

import difflib
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click
from pydantic import ValidationError
from pydantic_settings import SettingsError

from midstream.access.api_keys import KeysFileError
from midstream.access.key_file import keys_of
from midstream.access.secret_files import SUFFIX, SecretFileError
from midstream.cli.terminal import echo
from midstream.embedded import data_folder
from midstream.ends.webhook_file import WebhooksFileError, webhooks_of
from midstream.http.listener import BACKLOG, bound_unsent
from midstream.requests.catalogue import LOCAL_MODEL, MissingProviderKey, UnknownModel, resolve
from midstream.settings import PREFIX, Settings, secret_variables, variable_of

CLIENT_VARIABLES: Final = frozenset(("MIDSTREAM_URL", "MIDSTREAM_API_KEY"))
"""Options of the commands on streams, which a broker or a worker ignores."""
TYPO_LIKENESS: Final = 0.75
KUBERNETES: Final = "SERVICE_"
"""How the names of variables begin, after our prefix, that Kubernetes makes up for a service called midstream."""
"""How similar an unknown name must be to a setting's to count as a typing error (`difflib`): a letter or two apart."""


class SetupError(click.ClickException):
    """The process cannot start; the message says what to change. The exit status is 2, as for wrong usage."""

    exit_code = 2


def load_settings(*, listens: bool = True, **flags: Any) -> Settings:
    """Return the environment's settings, except where a flag overrides them.

    Args:
        listens: The settings are for a broker, whose port others may reach.
        flags: Values of settings by their names; None means that the environment's value holds.

    Raises:
        SetupError: A variable seems to be misspelt, or a value is wrong; the message names the variable.
    """
    _check_names(os.environ)
    try:
        settings = Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        # `msg` alone: `input` may be a secret.
        lines = [_variable(problem["loc"]) + problem["msg"].removeprefix("Value error, ") for problem in error.errors()]
        raise SetupError("\n".join(lines)) from None
    except SecretFileError as error:
        raise SetupError(str(error)) from None
    except SettingsError as error:
        field = re.search(r'field "(\w+)"', str(error))
        raise SetupError(f"{_variable(field.groups() if field else ())}not JSON") from None
    if listens and (reason := settings.why_not_listen()):
        raise SetupError(reason)
    if listens and settings.keys_file is not None:
        try:
            keys_of(settings.keys_file)
        except KeysFileError as error:
            raise SetupError(f"{variable_of('keys_file')}: {error}") from None
    if listens and settings.webhooks_file is not None:
        try:
            webhooks_of(settings.webhooks_file)
        except WebhooksFileError as error:
            raise SetupError(f"{variable_of('webhooks_file')}: {error}") from None
    _check_default_model(settings)
    return settings


def _check_names(environment: Mapping[str, str]) -> None:
    """Refuse a variable that is nearly one of ours, and warn of other unknown ones.

    These may belong to a later version or to another program: Kubernetes sets MIDSTREAM_SERVICE_HOST.
    """
    files = {variable + SUFFIX for variable in secret_variables()}
    variables = {variable_of(name) for name in Settings.model_fields} | files | CLIENT_VARIABLES
    names = {name.removeprefix(PREFIX): name for name in variables if name.startswith(PREFIX)}
    unknown = sorted(name for name in environment if name.upper().startswith(PREFIX) and name.upper() not in variables)
    for name in unknown:
        rest = name.upper().removeprefix(PREFIX)
        near = difflib.get_close_matches(rest, names, n=1, cutoff=TYPO_LIKENESS)
        if near and not rest.startswith(KUBERNETES):
            raise SetupError(f"{name}: there is no such setting; did you mean {names[near[0]]}?")
        echo(f"Warning: {name}: there is no such setting; `midstream config` lists them", err=True)


def _check_default_model(settings: Settings) -> None:
    if settings.default_model == LOCAL_MODEL:
        return  # `up` starts its server later
    try:
        resolve(None, settings)
    except (UnknownModel, MissingProviderKey) as error:
        raise SetupError(f"{variable_of('default_model')}: {error}") from None


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 picks a free one.

    Raises:
        SetupError: The port is in use, or the address does not belong to this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise SetupError(f"cannot listen on {host} port {port}: {reason}; choose another with --port") from None
    bound_unsent(listener)
    return listener


def lock(directory: Path) -> int:
    """Lock a data directory for this process; see `data_folder.lock`.

    Raises:
        SetupError: Another process holds the lock, or the directory cannot be written.
    """
    try:
        return data_folder.lock(directory)
    except data_folder.FolderTakenError as error:
        raise SetupError(f"{error}; stop it, or set --data-dir") from None
    except data_folder.FolderError as error:
        raise SetupError(str(error)) from None


def url_of(host: str, port: int) -> str:
    """Return the URL of a server that listens on `host`, for clients on this machine."""
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _variable(location: tuple[int | str, ...]) -> str:
    if not location:
        return ""
    name = str(location[0])
    return f"{variable_of(name)}: " if name in Settings.model_fields else f"{name}: "
