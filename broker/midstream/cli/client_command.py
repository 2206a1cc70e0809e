"""How a command is made that asks a running broker."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Final

import click
import httpx2

from midstream.client.client import DEFAULT_URL, Midstream

REQUEST_TRIES: Final = 2
MOST_PORT: Final = 65_535


def client_command(run: Callable[..., Awaitable[int | None]]) -> click.Command:
    """Make a command of a function that takes a connected client and the command's own arguments.

    The exit status is the number that the function returns, or 0. Each such command has the options `--url`,
    `--api-key` and `--json`; the function gets the last one as `as_json`.
    """

    @wraps(run)
    def command(url: str, api_key: str | None, **arguments: Any) -> None:
        async def connected() -> int | None:
            async with Midstream(url, api_key, tries=REQUEST_TRIES) as midstream:
                return await run(midstream, **arguments)

        sys.exit(asyncio.run(connected()))

    made = click.command()(command)
    made.params += [
        click.Option(
            ["--url"],
            envvar="MIDSTREAM_URL",
            default=DEFAULT_URL,
            show_default=True,
            callback=_address,
            help="The broker's address.  [env: MIDSTREAM_URL]",
        ),
        click.Option(
            ["--api-key"], envvar="MIDSTREAM_API_KEY", help="Your API key for the broker.  [env: MIDSTREAM_API_KEY]"
        ),
        click.Option(["--json", "as_json"], is_flag=True, help="Print JSON, for programs."),
    ]
    return made


def _address(_: click.Context, __: click.Parameter, url: str) -> str:
    """Return the broker's address, if a request can be sent there; else the command ends as for wrong usage."""
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise click.BadParameter(f"{url}: {error} (MIDSTREAM_URL)") from None
    if parsed.scheme not in ("http", "https") or not parsed.host or (parsed.port or 0) > MOST_PORT:
        raise click.BadParameter(f"{url} is no address of a broker, as {DEFAULT_URL} is one (MIDSTREAM_URL)")
    return url
