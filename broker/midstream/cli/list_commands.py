"""`midstream ls`: a tenant's streams, and for operators those of all tenants that fit."""

import asyncio
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import click

from midstream.cli import operate_views as views
from midstream.cli import render, screen
from midstream.cli.client_command import client_command
from midstream.cli.conditions import condition
from midstream.cli.table import MS_PER_S, width
from midstream.cli.terminal import echo, echo_json
from midstream.client.client import Midstream, MidstreamError
from midstream.finder.where import STATUSES
from midstream.journal.plain_text import harmless_line

OF_OPERATORS: Final = {
    "outcome": "that ended so",
    "code": "that ended with this failure",
    "model": "of this model",
    "user": "of this user",
    "tenant": "of this tenant",
    "older-than-s": "created longer ago than so many seconds",
    "newer-than-s": "created no longer ago than so many seconds",
    "silent-s": "that have not ended and had no entry for so many seconds",
    "attempts-over": "with more attempts",
    "q": "with this text in their ids, user, thread or metadata",
}
"""Conditions that only operators can search by, as options; the broker checks their values."""
PAGE: Final = 1_000
"""Streams asked for at once where all are listed; a broker gives fewer if its `MIDSTREAM_PAGE_LIMIT` is smaller."""
Page = tuple[list[dict[str, Any]], str | None]


def _conditions(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that only operators can use."""
    for name, words in reversed(OF_OPERATORS.items()):
        command = click.option(f"--{name}", help=f"As an operator: only streams {words}.")(command)
    return command


@client_command
@click.option("--status", type=click.Choice(STATUSES), help="Only streams with this status or outcome.")
@click.option("--thread", help="Only streams of this thread.")
@_conditions
@click.option("--metadata", multiple=True, metavar="NAME=VALUE", help="As an operator: only streams with this piece.")
@click.option(
    "--where",
    multiple=True,
    metavar="FIELD=VALUE",
    help="As an operator: a condition as for the commands that act. Can be repeated; all of them have to fit.",
)
@click.option("--all-tenants", is_flag=True, help="As an operator: streams of all tenants, whatever they are.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Most streams to list.")
@click.option("--all", "everything", is_flag=True, help="List all streams, whatever --limit is.")
@click.option("--cursor", help="Continue an earlier list that stopped at this cursor.")
@click.option("--watch", is_flag=True, help="Look again and again, until Ctrl-C.")
@click.option(
    "--every", type=click.FloatRange(0.2, 60), default=2.0, show_default=True, help="Seconds between two looks."
)
async def ls(midstream: Midstream, *, watch: bool, every: float, as_json: bool, **options: Any) -> None:
    """List streams, the newest first.

    With a key of a tenant these are the tenant's streams. With an option for operators, and a key with the scope
    `operate`, they are those of all tenants that fit.
    """
    listing = _Listing(midstream, options)
    if not watch:
        _print(await listing.look(), listing, as_json=as_json)
    elif as_json or not sys.stdout.isatty():
        while True:
            _print(await listing.look(), listing, as_json=as_json)
            await asyncio.sleep(every)
    else:

        async def text(fit: int, most_lines: int) -> str:
            rows, _ = await listing.look()
            return "\n".join(listing.table(rows, fit).split("\n")[:most_lines])

        await screen.show(text, every)


COMMANDS: Final = (ls,)


class _Listing:
    """What is listed: streams of the key's tenant, or with `conditions` those that an operator searches for."""

    def __init__(self, midstream: Midstream, options: dict[str, Any]) -> None:
        self._midstream = midstream
        self._limit: int | None = None if options["everything"] else options["limit"]
        self._cursor: str | None = options["cursor"]
        self._own = {name: options[name] for name in ("status", "thread")}
        self._conditions = _searched(options)

    async def look(self) -> Page:
        """Return up to `limit` streams (None: all), and the cursor after which there may be more."""
        rows: list[dict[str, Any]] = []
        cursor = self._cursor
        while True:
            # A page may hold fewer streams than its limit, or none, and still have one after it: for each page the
            # broker looks at a fixed number of a tenant's streams, whether they fit the filters or not.
            page = await self._page(PAGE if self._limit is None else self._limit - len(rows), cursor)
            rows += page["data"]
            cursor = page["next_cursor"]
            if cursor is None or (self._limit is not None and len(rows) >= self._limit):
                return rows, cursor

    async def _page(self, limit: int, cursor: str | None) -> Mapping[str, Any]:
        if self._conditions is None:
            try:
                return await self._midstream.list(limit=limit, cursor=cursor, **self._own)
            except MidstreamError as error:
                if error.code != "insufficient_scope":
                    raise
                detail = f"{error.detail} An operator adds --all-tenants."
                raise MidstreamError(error.code, error.status, detail, error.facts) from None
        of_page = {"limit": limit, "cursor": cursor}
        params = [*self._conditions, *((name, value) for name, value in of_page.items() if value is not None)]
        return await self._midstream.operate("streams", params=params)

    def table(self, rows: Sequence[dict[str, Any]], fit: int) -> str:
        """Return rows for people."""
        if self._conditions is None:
            return render.streams(rows, fit)
        return views.streams(rows, time.time() * MS_PER_S, fit)


def _searched(options: dict[str, Any]) -> list[tuple[str, Any]] | None:
    """Return the conditions of an operator's search; None where the options need no operator."""
    named = [(name.replace("-", "_"), options[name.replace("-", "_")]) for name in OF_OPERATORS]
    conditions = [(name, value) for name, value in named if value is not None]
    conditions += [condition(f"metadata.{text}", "--metadata") for text in options["metadata"]]
    conditions += [condition(text) for text in options["where"]]
    if not (conditions or options["all_tenants"]):
        return None
    return conditions + [(name, options[name]) for name in ("status", "thread") if options[name] is not None]


def _print(page: Page, listing: _Listing, *, as_json: bool) -> None:
    rows, next_cursor = page
    if as_json:
        echo_json({"data": rows, "next_cursor": next_cursor})
        return
    echo(listing.table(rows, width()))
    if next_cursor is not None:
        echo(f"[cut; there may be more: --cursor {harmless_line(next_cursor)}, or --all]", err=True, dim=True)
