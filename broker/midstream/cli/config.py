"""`midstream config`: each setting with its variable, value, default and meaning."""

import json
from typing import Any, Final
from urllib.parse import urlsplit

import click
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from midstream.settings import Settings, variable_of

MASK: Final = "********"


def show(settings: Settings, *, as_json: bool) -> None:
    """Print the settings as a table, or as a JSON list."""
    rows = [_row(settings, name, field) for name, field in Settings.model_fields.items()]
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        note = f"  (default: {_shown(row['default'])})" if row["value"] != row["default"] else ""
        click.echo(f"{click.style(row['variable'], bold=True)}={_shown(row['value'])}{note}\n    {row['meaning']}")


def _row(settings: Settings, name: str, field: FieldInfo) -> dict[str, Any]:
    return {
        "variable": variable_of(name),
        "value": _masked(name, getattr(settings, name)),
        "default": _masked(name, field.get_default(call_default_factory=True, validated_data={})),
        "meaning": field.description,
    }


def _masked(name: str, value: Any) -> Any:
    """Return the value as JSON, without secrets; of a URL, all but its credentials and query is shown."""
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


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
