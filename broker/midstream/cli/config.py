"""`midstream config`: each setting with its variable, value, default and meaning."""

import json
from typing import Any, Final
from urllib.parse import urlsplit

import click
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from midstream.cli.terminal import echo_json
from midstream.settings import Settings, variable_of

MASK: Final = "********"


def print_settings(settings: Settings, *, as_json: bool) -> None:
    """Print the settings as a table, or as a JSON list."""
    rows = [_row(settings, name, field) for name, field in Settings.model_fields.items()]
    if as_json:
        echo_json(rows)
        return
    for row in rows:
        note = f"  (default: {_as_text(row['default'])})" if row["value"] != row["default"] else ""
        click.echo(f"{click.style(row['variable'], bold=True)}={_as_text(row['value'])}{note}\n    {row['meaning']}")


def _row(settings: Settings, name: str, field: FieldInfo) -> dict[str, Any]:
    return {
        "variable": variable_of(name),
        "value": _masked(name, getattr(settings, name)),
        "default": _masked(name, field.get_default(call_default_factory=True, validated_data={})),
        "meaning": field.description,
    }


def _masked(name: str, value: Any) -> Any:
    """Return the value in a form that JSON can hold, without secrets. Of a URL, credentials and query are masked."""
    if isinstance(value, dict):
        return {key: _without_credentials(item) if name == "providers" else item for key, item in value.items()}
    secret = isinstance(value, SecretStr)
    text = value.get_secret_value() if secret else value
    if name.endswith("_url") and text:
        return _without_credentials(text)
    if secret:
        return MASK if text else ""
    return value if isinstance(value, bool | int | float | None) else str(value)


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(
        netloc=f"{MASK}@{host}" if host != parts.netloc else host, query=MASK if parts.query else ""
    ).geturl()


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
