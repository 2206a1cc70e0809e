"""The command `costs`: what streams have cost, summed up (PROTOCOL: Money/Sums)."""

from typing import Final

import click

from midstream.cli.client_command import client_command
from midstream.cli.table import table, width
from midstream.cli.terminal import echo, echo_json
from midstream.client.client import Midstream

KINDS: Final = ("tenant", "user", "thread", "model", "key", "day")
DAY: Final = "YYYY-MM-DD"


@client_command
@click.option("--by", type=click.Choice(KINDS), default="tenant", show_default=True, help="What each sum is of.")
@click.option("--from", "first", metavar=DAY, help="The first day, by UTC; without it today.")
@click.option("--to", "last", metavar=DAY, help="The last day; without it today.")
@click.option("--tenant", help="Only what this tenant has spent.")
async def costs(
    midstream: Midstream, by: str, first: str | None, last: str | None, tenant: str | None, *, as_json: bool
) -> None:
    """Show what streams have cost, by the table of prices, the largest sum first."""
    conditions = {"by": by, "from": first, "to": last, "tenant": tenant}
    params = {name: value for name, value in conditions.items() if value is not None}
    answer = await midstream.operate("costs", params=params)
    if as_json:
        echo_json(answer)
    elif answer["currency"] is None:
        echo("Nothing has a price: MIDSTREAM_PRICES_FILE names no table.")
    else:
        names = [name for name in ("day", "tenant", by) if answer["data"] and name in answer["data"][0]]
        names = list(dict.fromkeys(names))
        rows = [[*(row[name] or "(others)" for name in names), row["amount"]] for row in answer["data"]]
        echo(table([*names, answer["currency"]], rows, width()))
        echo(f"total {answer['total']} {answer['currency']}, {answer['from']} to {answer['to']}")


COMMANDS: Final = (costs,)
