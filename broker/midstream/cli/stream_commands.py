"""The commands that start and read streams: start, tail, show, log. Each is a client of a running broker."""

import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, Final

import click

from midstream.cli import render
from midstream.cli.client_command import client_command
from midstream.cli.terminal import echo, echo_json
from midstream.client.client import ClientEntry, Midstream

EXIT_STATUS: Final = {"completed": 0, "failed": 3, "cancelled": 4, "interrupted": 5}
EXIT_LEFT: Final = 130
"""The exit status after Ctrl-C, as in shells; the generation goes on."""
POLICIES: Final = ("auto", "reattach", "interrupt", "continue", "restart")

_STREAM_ID: Final = click.argument("stream_id", metavar="ID")
_AFTER: Final = click.option(
    "--after", type=click.IntRange(0), default=0, show_default=True, help="Begin after the entry of this offset."
)


@client_command
@click.argument("prompt")
@click.option("--model", help="`provider/name`. Without it the broker chooses its default model.")
@click.option("--system", help="A system message before the prompt.")
@click.option(
    "--param", "params", multiple=True, metavar="NAME=JSON", help="A parameter for the provider. Can be repeated."
)
@click.option("--thread", help="The conversation that the stream belongs to; see `ls --thread`.")
@click.option("--idempotency-key", help="A second start with the same key finds the stream and is not paid again.")
@click.option("--on-worker-loss", type=click.Choice(POLICIES), help="What happens to the stream if its worker dies.")
@click.option("--detach", is_flag=True, help="Only print the stream's id; read the answer with `midstream tail`.")
async def start(
    midstream: Midstream, prompt: str, system: str | None, params: tuple[str, ...], as_json: bool, **options: Any
) -> int:
    """Start a stream with PROMPT and print the answer as it comes.

    If PROMPT is `-`, it is read from the standard input.

    The exit status is the outcome: 0 completed, 3 failed, 4 cancelled, 5 interrupted.
    """
    text = sys.stdin.read() if prompt == "-" else prompt
    messages = [{"role": "system", "content": system}, {"role": "user", "content": text}]
    detach = options.pop("detach")
    stream = await midstream.start(messages if system else text, params=_parse(params) or None, **options)
    if detach:
        _print(stream, lambda state: str(state["id"]), as_json=as_json)
        return 0
    echo(f"stream {stream['id']}", err=True)
    return await _follow(midstream, stream["id"], 0, as_json=as_json)


@client_command
@_STREAM_ID
@_AFTER
async def tail(midstream: Midstream, stream_id: str, after: int, as_json: bool) -> int:
    """Print a stream's text as it comes. Connections that are cut are opened again.

    The exit status is the outcome: 0 completed, 3 failed, 4 cancelled, 5 interrupted.
    """
    return await _follow(midstream, stream_id, after, as_json=as_json)


@client_command
@_STREAM_ID
async def show(midstream: Midstream, stream_id: str, as_json: bool) -> None:
    """Print a stream's state."""
    _print(await midstream.state(stream_id), render.state, as_json=as_json)


@client_command
@_STREAM_ID
@_AFTER
@click.option("--limit", type=click.IntRange(1), help="Most entries to print.")
async def log(midstream: Midstream, stream_id: str, after: int, limit: int | None, as_json: bool) -> None:
    """Print the entries that a stream's log holds now."""
    cursor, left = after, limit
    while left != 0 and (page := await midstream.entries(stream_id, cursor, left)):
        for entry in page:
            _print_entry(entry, lambda entry: echo(render.entry(entry)), as_json=as_json)
        cursor = page[-1].offset
        left = left and left - len(page)


COMMANDS: Final = (start, tail, show, log)


async def _follow(midstream: Midstream, stream_id: str, after: int, *, as_json: bool) -> int:
    """Print entries up to the end, and return the exit status that stands for the outcome."""
    cursor, outcome = after, None
    live_text = render.LiveText()
    try:
        async with aclosing(midstream.tail(stream_id, after)) as entries:
            async for entry in entries:
                _print_entry(entry, live_text.print, as_json=as_json)
                cursor = entry.offset or 0
                outcome = entry.data["outcome"] if entry.type == "end" else None
    except asyncio.CancelledError:  # Ctrl-C
        echo(f"\nstopped reading; the stream goes on: midstream tail {stream_id} --after {cursor}", err=True)
        return EXIT_LEFT
    if outcome is None:  # it had ended before `after`
        outcome = (await midstream.state(stream_id))["outcome"]
    return EXIT_STATUS.get(outcome, 1)


def _parse(params: tuple[str, ...]) -> dict[str, Any]:
    """Return `NAME=JSON` words as an object; a value that is not JSON is taken as text.

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


def _print(state: dict[str, Any], render_state: Callable[[dict[str, Any]], str], *, as_json: bool) -> None:
    if as_json:
        echo_json(state)
    else:
        echo(render_state(state))


def _print_entry(entry: ClientEntry, print_text: Callable[[ClientEntry], None], *, as_json: bool) -> None:
    if as_json:
        echo_json({"offset": entry.offset, "type": entry.type, "data": entry.data})
    else:
        print_text(entry)
