"""The command `capacity`: how many brokers and workers users need, from what was measured (docs/capacity.md)."""

from dataclasses import asdict
from typing import Final

import click

from midstream.cli.capacity import Load, Need, Storm, brokers_for, redis_for, simulated, stored_bytes, workers_for
from midstream.cli.table import table, width
from midstream.cli.terminal import echo, echo_json

_PARTS: Final = ("brokers", "workers", "Redis' cores")


@click.command()
@click.option("--users", type=click.IntRange(1, 10_000_000), required=True, help="Pages that are open at once.")
@click.option(
    "--active",
    type=click.FloatRange(0, 1),
    default=0.1,
    show_default=True,
    help="The share of them whose answer is being written.",
)
@click.option(
    "--tokens-per-s",
    type=click.FloatRange(0.1),
    default=50.0,
    show_default=True,
    help="Tokens of one answer in a second.",
)
@click.option(
    "--answer-tokens", type=click.IntRange(1), default=500, show_default=True, help="Tokens of a whole answer."
)
@click.option(
    "--devices",
    type=click.FloatRange(1),
    default=1.2,
    show_default=True,
    help="Tails of one answer: tabs share one, devices do not.",
)
@click.option(
    "--retention-s",
    type=click.IntRange(0),
    default=86_400,
    show_default=True,
    help="How long an answer is kept after its end.",
)
@click.option(
    "--generations",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="Answers that a worker writes at once, MIDSTREAM_MAX_GENERATIONS.",
)
@click.option(
    "--simulate", is_flag=True, help="Place each tail at random, stop one broker, and say what the others notice."
)
@click.option(
    "--return-s",
    type=click.FloatRange(0.1),
    default=5.0,
    show_default=True,
    help="Time over which the clients of that broker come back.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def capacity(*, simulate: bool, return_s: float, as_json: bool, **figures: float) -> None:
    """Say how many brokers and workers a number of users needs, and how much of Redis.

    The sums are over what docs/benchmarks.md measured, on a core of that machine. They ask no broker.
    """
    load = Load(**figures)  # type: ignore[arg-type]
    needs = (brokers_for(load), workers_for(load), redis_for(load))
    storm = simulated(load, needs[0].count, over_s=return_s) if simulate else None
    if as_json:
        sums = {"tails": load.tails, "answers": load.answers, "entries_per_s": load.entries_per_s}
        parts = {name: asdict(need) for name, need in zip(("brokers", "workers", "redis_cores"), needs, strict=True)}
        echo_json({**sums, **parts, "redis_bytes": round(stored_bytes(load)), "storm": storm and asdict(storm)})
        return
    echo(f"{load.tails:,} tails, {load.answers:,} answers at once, {load.entries_per_s:,.0f} entries/s")
    echo(
        table(
            ["part", "how many", "busy", "breaks first by"],
            [_row(*each) for each in zip(_PARTS, needs, strict=True)],
            width(),
        )
    )
    echo(f"Redis' memory for what is kept: {stored_bytes(load) / 2**30:,.1f} GiB")
    if storm:
        echo(_sentence(storm, needs[0].count))


def _row(name: str, need: Need) -> list[str]:
    busy = need.busy_cores / need.count if name == _PARTS[-1] else need.busy_cores
    return [name, f"{need.count:,}", f"{busy:.0%} of a core", need.first]


def _sentence(storm: Storm, brokers: int) -> str:
    before, after = f"{storm.busiest_before:.0%}", f"{storm.busiest_after:.0%}"
    return (
        f"One of {brokers} brokers stops: the busiest one goes from {before} to {after} of its core, "
        f"all clients are back after {storm.back_s:.1f} s, and no tail is late by more than {storm.latest_ms:.0f} ms"
    )


COMMANDS: Final = (capacity,)
