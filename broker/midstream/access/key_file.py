"""Makes, lists and takes away rows of a key file (PROTOCOL: Access/Keys)."""

import contextlib
import fcntl
import json
import os
import tempfile
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from midstream.access.api_keys import ApiKeys, KeysFileError, new_key

KEYS: Final = "keys"


def keys_of(path: Path) -> ApiKeys:
    """Return the keys of a key file, which has to be there.

    Raises:
        KeysFileError: The file cannot be read or used.
    """
    return ApiKeys.from_toml(_text(path))


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a key file's keys; a file that is not there has none.

    Raises:
        KeysFileError: The file cannot be read or used.
    """
    return _tables(path).get(KEYS, [])


def _tables(path: Path) -> dict[str, list[dict[str, Any]]]:
    text = _text(path) if path.exists() else ""
    ApiKeys.from_toml(text)
    return tomllib.loads(text)


def add_key(path: Path, name: str, tenant: str, *, days: int | None, **fields: Any) -> str:
    """Add a new key to a key file and return it. It cannot be shown again.

    `fields` are more fields of its row; those that are empty are left out.

    Raises:
        KeysFileError: The file cannot be used, the name is in it already, or a field does not fit.
    """
    new = new_key(name, tenant)
    expires = None if days is None else datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)
    row = new.row | {field: value for field, value in (fields | {"expires": expires}).items() if value}
    with _locked(path):
        tables = _tables(path)
        _write(path, tables | {KEYS: [*tables.get(KEYS, []), row]})
    return new.secret


def revoke_key(path: Path, name: str) -> None:
    """Take a key out of a key file; a broker that uses it notices within seconds.

    Raises:
        KeysFileError: The file cannot be used, or has no such key.
    """
    with _locked(path):
        tables = _tables(path)
        kept = [row for row in tables.get(KEYS, []) if row["name"] != name]
        if len(kept) == len(tables.get(KEYS, [])):
            raise KeysFileError(f"{path} has no key of the name {name}.")
        _write(path, tables | {KEYS: kept})


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise KeysFileError(f"The key file {path} cannot be read: {error}") from None


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep others from changing the file meanwhile. Its folder is locked, because the file itself is replaced.

    Raises:
        KeysFileError: The folder or the file cannot be written.
    """
    try:
        folder = os.open(path.resolve().parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)
    except (OSError, UnicodeEncodeError) as error:
        raise KeysFileError(f"The key file {path} cannot be changed: {error}") from None


def _write(path: Path, tables: dict[str, list[dict[str, Any]]]) -> None:
    """Replace the file as a whole, so that a broker which reads it meanwhile sees the old one or the new one.

    Owner and mode stay as they are, so that a broker of another user can read it as before. A link stays one.
    """
    text = "\n".join("\n".join([f"[[{table}]]", *(f"{name} = {_toml(value)}" for name, value in row.items())]) + "\n"
                     for table, rows in tables.items() for row in rows)  # fmt: skip
    ApiKeys.from_toml(text)
    target = path.resolve()
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    replacement = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if target.exists():
                before = target.stat()
                os.fchmod(descriptor, before.st_mode & 0o777)
                os.fchown(descriptor, before.st_uid, before.st_gid)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        replacement.replace(target)
    except BaseException:
        replacement.unlink()
        raise


def _toml(value: str | list[str] | dict[str, int] | datetime) -> str:
    """Return a value as TOML writes it; its texts and lists of texts are written as JSON's are."""
    match value:
        case datetime():
            return value.isoformat()
        case dict():
            return f"{{{', '.join(f'{name} = {number}' for name, number in value.items())}}}"
    return json.dumps(value, ensure_ascii=False)
