"""Makes, lists and takes away rows of a key file (PROTOCOL: Access/Keys)."""

import json
import os
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from midstream.access.api_keys import ApiKeys, KeysFileError, new_key


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a key file; a file that is not there has none.

    Raises:
        KeysFileError: The file cannot be used.
    """
    text = path.read_text() if path.exists() else ""
    ApiKeys.from_toml(text)
    rows: list[dict[str, Any]] = tomllib.loads(text).get("keys", [])
    return rows


def add_key(
    path: Path, name: str, tenant: str, *, user: str | None = None, scopes: list[str] | None = None, days: int | None
) -> str:
    """Add a new key to a key file and return it. It cannot be shown again.

    Raises:
        KeysFileError: The file cannot be used, or the name is in it already.
    """
    new = new_key(name, tenant)
    expires = None if days is None else datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)
    optional = {"user": user, "scopes": scopes or None, "expires": expires}
    row = new.row | {field: value for field, value in optional.items() if value is not None}
    _write(path, [*rows_of(path), row])
    return new.secret


def revoke_key(path: Path, name: str) -> None:
    """Take a key out of a key file; a broker that uses it notices within seconds.

    Raises:
        KeysFileError: The file cannot be used, or has no such key.
    """
    rows = rows_of(path)
    kept = [row for row in rows if row["name"] != name]
    if len(kept) == len(rows):
        raise KeysFileError(f"{path} has no key of the name {name}.")
    _write(path, kept)


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Replace the file as a whole, so that a broker which reads it meanwhile sees the old one or the new one."""
    text = "\n".join("\n".join(["[[keys]]", *(f"{name} = {_toml(value)}" for name, value in row.items())]) + "\n"
                     for row in rows)  # fmt: skip
    ApiKeys.from_toml(text)
    replacement = path.with_name(f".{path.name}.new")
    with os.fdopen(os.open(replacement, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    replacement.replace(path)


def _toml(value: str | list[str] | datetime) -> str:
    """Return a value as TOML writes it; its texts and lists of texts are written as JSON's are."""
    return value.isoformat() if isinstance(value, datetime) else json.dumps(value, ensure_ascii=False)
