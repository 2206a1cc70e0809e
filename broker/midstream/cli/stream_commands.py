"""The commands on streams: start, tail, ls, show, log, cancel, rm. Each is a client of a running broker."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final, TypeVar

import click

from midstream.cli import render
from midstream.cli.terminal import echo, echo_json, harmless_line
from midstream.client.client import DEFAULT_URL, ClientEntry, Midstream

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

EXIT_STATUS: Final = {"completed": 0, "failed": 3, "cancelled": 4, "interrupted": 5}
EXIT_LEFT: Final = 130
"""Left by Ctrl-C, as shells have it; the generation goes on."""
POLICIES: Final = ("auto", "reattach", "interrupt", "continue", "restart")
STATUSES: Final = ("queued", "running", "ended", *EXIT_STATUS)
REQUEST_TRIES: Final = 2


def _of_broker(command: Decorated) -> Decorated:
    """Add the options that say which broker is meant, and how to print."""
    url = click.option(
        "--url",
        envvar="MIDSTREAM_URL",
        default=DEFAULT_URL,
        show_default=True,
        help="The broker.  [env: MIDSTREAM_URL]",
    )
    key = click.option("--api-key", envvar="MIDSTREAM_API_KEY", help="Its API key.  [env: MIDSTREAM_API_KEY]")
    as_json = click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
    return url(key(as_json(command)))


@click.command()
@click.argument("prompt")
@_of_broker
@click.option("--model", help="`provider/name`; the broker's default if not given.")
@click.option("--system", help="A system message before the prompt.")
@click.option("--param", "params", multiple=True, metavar="NAME=JSON", help="Passed on to the provider; repeatable.")
@click.option("--thread", help="Groups streams for `ls`.")
@click.option("--idempotency-key", help="The same key never starts, or pays, twice.")
@click.option("--on-worker-loss", type=click.Choice(POLICIES), help="What becomes of it if its worker is lost.")
@click.option("--detach", is_flag=True, help="Print the id and leave; read it with `midstream tail`.")
def start(
    prompt: str, url: str, api_key: str | None, as_json: bool, system: str | None, params: tuple[str, ...], **given: Any
) -> None:
    """Start a stream with PROMPT (`-` reads it from the input) and follow its answer.

    The exit status tells the outcome: 0 completed, 3 failed, 4 cancelled, 5 interrupted.
    """
    text = sys.stdin.read() if prompt == "-" else prompt
    detach = given.pop("detach")
    if system:
        content: Any = [{"role": "system", "content": system}, {"role": "user", "content": text}]
    else:
        content = text

    async def run(midstream: Midstream) -> int:
        stream = await midstream.start(content, params=_parse(params) or None, **given)
        if detach:
            if as_json:
                echo_json(stream)
            else:
                echo(stream["id"])
            return 0
        echo(f"stream {stream['id']}", err=True)
        return await _follow(midstream, stream["id"], 0, as_json=as_json)

    _run(url, api_key, run)


@click.command()
@click.argument("stream_id", metavar="ID")
@_of_broker
@click.option("--after", type=click.IntRange(0), default=0, help="Begin behind this offset.")
def tail(stream_id: str, url: str, api_key: str | None, as_json: bool, after: int) -> None:
    """Print a stream's text as it comes, through any number of cuts.

    The exit status tells the outcome: 0 completed, 3 failed, 4 cancelled, 5 interrupted.
    """
    _run(url, api_key, lambda midstream: _follow(midstream, stream_id, after, as_json=as_json))


@click.command()
@_of_broker
@click.option("--status", type=click.Choice(STATUSES), help="Those of this status or outcome alone.")
@click.option("--thread", help="Those of this thread alone.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Most streams to list.")
@click.option("--all", "everything", is_flag=True, help="All of them; --limit does not count.")
@click.option("--cursor", help="Go on where an earlier list was cut.")
def ls(
    url: str, api_key: str | None, as_json: bool, limit: int, everything: bool, cursor: str | None, **filters: Any
) -> None:
    """List streams, the newest first."""

    async def run(midstream: Midstream) -> int:
        rows, next_cursor = await _listed(midstream, None if everything else limit, cursor, filters)
        if as_json:
            echo_json({"data": rows, "next_cursor": next_cursor})
            return 0
        echo(render.streams(rows))
        if next_cursor is not None:
            echo(f"[cut; there may be more: --cursor {harmless_line(next_cursor)}, or --all]", err=True, dim=True)
        return 0

    _run(url, api_key, run)


@click.command()
@click.argument("stream_id", metavar="ID")
@_of_broker
def show(stream_id: str, url: str, api_key: str | None, as_json: bool) -> None:
    """Print a stream's state."""

    async def run(midstream: Midstream) -> int:
        state = await midstream.state(stream_id)
        _print_state(state, as_json=as_json)
        return 0

    _run(url, api_key, run)


@click.command()
@click.argument("stream_id", metavar="ID")
@_of_broker
@click.option("--after", type=click.IntRange(0), default=0, help="Begin behind this offset.")
@click.option("--limit", type=click.IntRange(1), help="Most entries to print.")
def log(stream_id: str, url: str, api_key: str | None, as_json: bool, after: int, limit: int | None) -> None:
    """Print a stream's entries as they are logged now."""

    async def run(midstream: Midstream) -> int:
        cursor, left = after, limit
        while left != 0 and (page := await midstream.entries(stream_id, cursor, left)):
            for entry in page:
                _print_entry(entry, as_json=as_json)
            cursor = page[-1].offset
            left = left and left - len(page)
        return 0

    _run(url, api_key, run)


@click.command()
@click.argument("stream_id", metavar="ID")
@_of_broker
def cancel(stream_id: str, url: str, api_key: str | None, as_json: bool) -> None:
    """Stop a stream; what it has said so far is kept."""

    async def run(midstream: Midstream) -> int:
        state = await midstream.cancel(stream_id)
        _print_state(state, as_json=as_json)
        return 0

    _run(url, api_key, run)


@click.command()
@click.argument("stream_id", metavar="ID")
@_of_broker
def rm(stream_id: str, url: str, api_key: str | None, as_json: bool) -> None:
    """Stop a stream and forget it."""

    async def run(midstream: Midstream) -> int:
        await midstream.delete(stream_id)
        if as_json:
            echo_json({"id": stream_id, "deleted": True})
        return 0

    _run(url, api_key, run)


COMMANDS: Final = (start, tail, ls, show, log, cancel, rm)


async def _listed(
    midstream: Midstream, limit: int | None, cursor: str | None, filters: Mapping[str, str | None]
) -> tuple[list[dict[str, Any]], str | None]:
    """Return up to `limit` streams (None: all), and the cursor behind which there may be more."""
    rows: list[dict[str, Any]] = []
    while True:
        # A page may hold fewer than asked for, or none, and still have one behind it: the broker looks at so many
        # streams in one go, whether they fit the filters or not.
        left = None if limit is None else limit - len(rows)
        page = await midstream.list(limit=left, cursor=cursor, **filters)
        rows += page["data"]
        cursor = page["next_cursor"]
        if cursor is None or (limit is not None and len(rows) >= limit):
            return rows, cursor


async def _follow(midstream: Midstream, stream_id: str, after: int, *, as_json: bool) -> int:
    """Print entries up to the end; return the exit status of the outcome."""
    cursor, outcome = after, None
    printer = render.LiveText()
    try:
        async with aclosing(midstream.tail(stream_id, after)) as entries:
            async for entry in entries:
                if as_json:
                    echo_json(_fields(entry))
                else:
                    printer.print(entry)
                cursor = entry.offset or 0
                outcome = entry.data["outcome"] if entry.type == "end" else None
    except asyncio.CancelledError:  # Ctrl-C
        echo(f"\nleft; the stream goes on: midstream tail {stream_id} --after {cursor}", err=True)
        return EXIT_LEFT
    if outcome is None:  # it had ended before `after`
        outcome = (await midstream.state(stream_id))["outcome"]
    return EXIT_STATUS.get(outcome, 1)


def _run(url: str, api_key: str | None, command: Callable[[Midstream], Awaitable[int]]) -> None:
    async def run() -> int:
        async with Midstream(url, api_key, tries=REQUEST_TRIES) as midstream:
            return await command(midstream)

    sys.exit(asyncio.run(run()))


def _parse(params: tuple[str, ...]) -> dict[str, Any]:
    """Return `NAME=JSON` words as an object; what is no JSON is text.

    Raises:
        click.BadParameter: A word has no `=`.
    """
    parsed = {}
    for word in params:
        name, equals, value = word.partition("=")
        if not equals:
            raise click.BadParameter(f"{word!r} is not NAME=JSON", param_hint="--param")
        try:
            parsed[name] = json.loads(value)
        except ValueError:
            parsed[name] = value
    return parsed


def _print_state(state: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        echo_json(state)
    else:
        echo(render.state(state))


def _print_entry(entry: ClientEntry, *, as_json: bool) -> None:
    if as_json:
        echo_json(_fields(entry))
    else:
        echo(render.entry(entry))


def _fields(entry: ClientEntry) -> dict[str, Any]:
    return {"offset": entry.offset, "type": entry.type, "data": entry.data}
