"""Secrets from files: `<VARIABLE>_FILE` names the file that holds the value (PROTOCOL: Operation/Secrets).

Container platforms hand secrets out as files. A variable's value can be read by everybody who may inspect the
container, and is passed on to every child process.
"""

import os
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import AliasChoices, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsError

SUFFIX: Final = "_FILE"
MOST_BYTES: Final = 65_536


class SecretFileError(SettingsError):
    """A file of a secret cannot be used; the text names the variable and no value."""


def secret(variable: str) -> str:
    """Return a secret from its variable or from its file, without white space around it; empty: it is not set.

    Raises:
        SecretFileError: Both are set, or the file cannot be read, is larger than 64 KiB, or is not UTF-8.
    """
    value, file = os.environ.get(variable, ""), os.environ.get(variable + SUFFIX, "")
    if not file:
        return value
    if value:
        raise SecretFileError(f"{variable} and {variable}{SUFFIX} are both set: leave one of them out")
    try:
        with Path(file).open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise SecretFileError(f"{variable}{SUFFIX}: the file is larger than {MOST_BYTES} bytes")
        return content.decode().strip()
    except OSError as error:
        raise SecretFileError(f"{variable}{SUFFIX}: {file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SecretFileError(f"{variable}{SUFFIX}: {file} is not text in UTF-8") from None


class SecretFiles(PydanticBaseSettingsSource):
    """The settings that are secrets, as far as they come from files."""

    def __init__(self, settings: type[BaseSettings]) -> None:
        super().__init__(settings)
        self._prefix = settings.model_config.get("env_prefix", "")

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return a field's value, the key that it is stored under, and that it is no JSON."""
        return secret(variable_of(field_name, field, self._prefix)), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the values of all fields that have a file."""
        values: dict[str, Any] = {}
        for name, field in self.settings_cls.model_fields.items():
            if is_secret(field) and os.environ.get(variable_of(name, field, self._prefix) + SUFFIX):
                value, key, _ = self.get_field_value(field, name)
                values |= {key: value} if value else {}
        return values


def is_secret(field: FieldInfo) -> bool:
    """Tell whether a setting is a secret, which may come from a file."""
    return field.annotation is SecretStr or SecretStr in get_args(field.annotation)


def variable_of(name: str, field: FieldInfo, prefix: str) -> str:
    """Return the environment variable of a setting."""
    alias = field.validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else f"{prefix}{name.upper()}"
