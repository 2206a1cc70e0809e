"""The command `outlets`: who is told of ends, and what was not taken (PROTOCOL: Ends/Seen)."""

from typing import Final
from urllib.parse import quote

import click

from midstream.cli import render
from midstream.cli.client_command import client_command
from midstream.cli.confirmation import EXIT_REFUSED, is_confirmed
from midstream.cli.table import table, width
from midstream.cli.terminal import echo, echo_json
from midstream.client.client import Midstream
from midstream.journal.plain_text import harmless_line

COLUMNS: Final = ("name", "tenant", "host", "waiting", "abandoned", "lost")


@client_command
@click.argument("name", required=False)
@click.option("--send-again", is_flag=True, help="Deliver all ends that NAME did not take and that were given up.")
@click.option("--yes", is_flag=True, help="Do not ask.")
async def outlets(midstream: Midstream, name: str | None, *, send_again: bool, yes: bool, as_json: bool) -> int | None:
    """List the webhooks and the hook, with the ends that wait for them; of NAME, also those that were given up."""
    if send_again and name is None:
        raise click.UsageError("--send-again needs the NAME of an outlet.")
    path = f"outlets/{quote(name, safe='')}" if name else "outlets"
    answer = await midstream.operate(path)
    if send_again:
        if not yes and not is_confirmed("send again", answer["abandoned"], "ends"):
            return EXIT_REFUSED
        answer = await midstream.operate(f"{path}/again", "POST")
    if as_json:
        echo_json(answer)
    elif send_again:
        echo(f"ends that are sent again: {answer['sent']}")
    elif name is None:
        rows = [[row[column] for column in COLUMNS] for row in answer["data"]]
        echo(table(COLUMNS, rows, width()) if rows else "no outlets")
    else:
        echo(render.state({key: value for key, value in answer.items() if key != "abandoned_streams"}))
        for each in answer["abandoned_streams"]:
            echo(harmless_line(f"given up: {each['tenant']} {each['id']}"))
    return None


COMMANDS: Final = (outlets,)
