"""What operators ask: workers, brokers, queue, stats, why, doctor, top. They need a key with the scope `operate`."""

from typing import Any, Final

import click

from midstream.cli import operate_views as views
from midstream.cli import top as screen
from midstream.cli.client_command import client_command
from midstream.cli.operate_path import stream_path, tenant_and_id
from midstream.cli.table import width
from midstream.cli.terminal import echo, echo_json
from midstream.client.client import Midstream, MidstreamError

FAULTY: Final = 1


@client_command
@click.option("--streams", is_flag=True, help="List the streams that they run instead.")
async def workers(midstream: Midstream, streams: bool, as_json: bool) -> None:
    """List the workers that live: slots, generations, leases."""
    answer = await midstream.operate("workers")
    _print(answer, (views.generations if streams else views.workers)(answer, width()), as_json=as_json)


@client_command
async def brokers(midstream: Midstream, as_json: bool) -> None:
    """List the brokers that live: tails, memory."""
    answer = await midstream.operate("brokers")
    _print(answer, views.brokers(answer, width()), as_json=as_json)


@client_command
async def queue(midstream: Midstream, as_json: bool) -> None:
    """Show what waits for a worker, and slips and streams that do not fit together."""
    answer = await midstream.operate("queue")
    _print(answer, views.queue(answer, width()), as_json=as_json)


@client_command
@click.option("--minutes", type=click.IntRange(1, 60), default=10, show_default=True, help="How many minutes to show.")
async def stats(midstream: Midstream, minutes: int, as_json: bool) -> None:
    """Show starts, outcomes, tokens and first words of the last minutes, and of the hour."""
    answer = await midstream.operate("stats")
    _print(answer, views.stats(answer, width(), minutes), as_json=as_json)


@client_command
@click.argument("stream_id", metavar="ID")
@click.option("--tenant", help="The tenant that the stream is of; or ID is TENANT/ID.  [default: default]")
async def why(midstream: Midstream, stream_id: str, tenant: str | None, as_json: bool) -> None:
    """Say why a stream has ended, or what it waits for, and all that is known of it."""
    answer = await midstream.operate(stream_path(*tenant_and_id(stream_id, tenant)))
    _print(answer, f"{answer['why']}\n\n{views.stream(answer, width())}", as_json=as_json)


@client_command
async def doctor(midstream: Midstream, as_json: bool) -> int:
    """Look for what is wrong or unsafe: server, clocks, workers, settings, limits.

    The exit status is 1 where something does not work or loses data, or where no broker or no Redis answers.
    """
    try:
        answer = await midstream.operate("doctor")
    except MidstreamError as error:
        if error.code == "log_unavailable":
            row = {"check": "redis", "level": "fault", "message": f"Redis does not answer the broker: {error.detail}"}
        elif error.status:  # a broker has answered that the key is not good for this
            raise
        else:
            row = {"check": "broker", "level": "fault", "message": f"No broker answers: {error.detail}"}
        answer = {"worst": "fault", "faults": 1, "warnings": 0, "data": [row]}
    _print(answer, views.findings(answer, width()), as_json=as_json)
    return FAULTY if answer["worst"] == "fault" else 0


@client_command
@click.option(
    "--every", type=click.FloatRange(0.2, 60), default=2.0, show_default=True, help="Seconds between two looks."
)
@click.option("--once", is_flag=True, help="Print one look and end, as where the output is no terminal.")
async def top(midstream: Midstream, every: float, once: bool, as_json: bool) -> None:
    """Watch workers, brokers, rates and running streams on a full screen, until Ctrl-C."""
    if as_json:
        echo_json(await screen.look(midstream))
    else:
        await screen.watch(midstream, every, once=once)


COMMANDS: Final = (workers, brokers, queue, stats, why, doctor, top)


def _print(answer: dict[str, Any], text: str, *, as_json: bool) -> None:
    if as_json:
        echo_json(answer)
    else:
        echo(text)
