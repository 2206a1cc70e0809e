"""`midstream keys`: makes, lists and revokes API keys."""

import secrets
from pathlib import Path
from typing import Any, Final

import click

from midstream.access.grant import Scope
from midstream.cli.terminal import echo

KEY_BYTES: Final = 32

_FILE = click.option(
    "--file",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="MIDSTREAM_KEYS_FILE",
    help="The key file; default: MIDSTREAM_KEYS_FILE.",
)


class _Limit(click.ParamType[tuple[str, int]]):
    """`NAME=NUMBER`."""

    name = "NAME=NUMBER"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Return name and number."""
        limit, _, number = str(value).partition("=")
        if not number.isdecimal():
            self.fail(f"{value} is not NAME=NUMBER, as in key_generations=5", param, ctx)
        return limit, int(number)


@click.group()
def keys() -> None:
    """Make, list and revoke API keys for a broker."""


@keys.command()
@click.argument("name", required=False)
@click.option("--tenant", help="The tenant that the key is of.")
@click.option("--user", help="The one user of the tenant that it is of; default: all.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([str(scope) for scope in Scope]),
    help="May be repeated; default: all but operate.",
)
@click.option(
    "--days", type=click.IntRange(min=1, max=36_500), help="For how long it is valid; default: until it is revoked."
)
@click.option("--model", "models", multiple=True, help="A model that it may use, as demo/*; repeatable; default: all.")
@click.option(
    "--limit",
    "limits",
    multiple=True,
    type=_Limit(),
    help="May be repeated; of: key_day_budget_cents, key_generations, key_month_budget_cents, key_starts_per_minute.",
)
@_FILE
def new(
    name: str | None,
    tenant: str | None,
    days: int | None,
    path: Path | None,
    **fields: Any,
) -> None:
    """Print a new key. With NAME and --tenant its hash is added to the key file.

    Without NAME a broker accepts it if its MIDSTREAM_API_KEYS contains KEY:TENANT. The key itself is stored nowhere:
    this is the only time that it is shown.
    """
    if name is None and (tenant or days or any(fields.values())):
        raise click.UsageError("NAME is missing: a key without a name has no row in the key file.")
    if name is None:
        echo(secrets.token_hex(KEY_BYTES))
        return
    if tenant is None:
        raise click.UsageError("--tenant is missing: whose key is it?")
    from midstream.access import key_file  # noqa: PLC0415 - it needs the extra `server`
    from midstream.access.api_keys import KeysFileError  # noqa: PLC0415

    try:
        lists = {field: [*fields[field]] for field in ("scopes", "models")}
        row = {"user": fields["user"], **lists, "limits": dict(fields["limits"])}
        echo(key_file.add_key(_path(path), name, tenant, days=days, **row))
    except KeysFileError as error:
        raise click.ClickException(str(error)) from None


@keys.command(name="list")
@_FILE
def list_keys(path: Path | None) -> None:
    """List the keys of the key file, without the keys themselves."""
    from midstream.access import key_file  # noqa: PLC0415
    from midstream.access.api_keys import KeysFileError  # noqa: PLC0415

    try:
        rows = key_file.rows_of(_path(path))
    except KeysFileError as error:
        raise click.ClickException(str(error)) from None
    for row in rows:
        scopes = ",".join(row["scopes"]) if "scopes" in row else "all but operate"
        user, expires = row.get("user", "every user"), row.get("expires", "never expires")
        models = ",".join(row["models"]) or "no model" if "models" in row else "every model"
        limits = "".join(f"  {limit}={value}" for limit, value in row.get("limits", {}).items())
        echo(f"{row['name']}  tenant {row['tenant']}  {user}  {scopes}  {expires}  {models}{limits}")


@keys.command()
@click.argument("name")
@_FILE
def revoke(name: str, path: Path | None) -> None:
    """Take a key out of the key file. Brokers refuse it within 5 s."""
    from midstream.access import key_file  # noqa: PLC0415
    from midstream.access.api_keys import KeysFileError  # noqa: PLC0415

    try:
        key_file.revoke_key(_path(path), name)
    except KeysFileError as error:
        raise click.ClickException(str(error)) from None


def _path(path: Path | None) -> Path:
    if path is None:
        raise click.UsageError("Name the key file: --file, or MIDSTREAM_KEYS_FILE.")
    return path
