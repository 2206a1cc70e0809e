"""How a command is made that asks a running broker."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Final

import click

from midstream.client.client import DEFAULT_URL, Midstream

REQUEST_TRIES: Final = 2


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
            help="The broker's address.  [env: MIDSTREAM_URL]",
        ),
        click.Option(
            ["--api-key"], envvar="MIDSTREAM_API_KEY", help="Your API key for the broker.  [env: MIDSTREAM_API_KEY]"
        ),
        click.Option(["--json", "as_json"], is_flag=True, help="Print JSON, for programs."),
    ]
    return made
