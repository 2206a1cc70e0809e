"""`midstream top`: the installation on a full screen, looked at again and again."""

import asyncio
import sys
import time
from typing import Any, Final

from midstream.cli import operate_views as views
from midstream.cli import screen
from midstream.cli.table import MS_PER_S, size, span, width
from midstream.cli.terminal import echo
from midstream.client.client import Midstream

PARTS: Final = ("workers", "brokers", "queue", "stats", "redis")


async def look(midstream: Midstream) -> dict[str, Any]:
    """Return the answers that a screen is made of, by their names."""
    answers = await asyncio.gather(*(midstream.operate(part) for part in PARTS))
    return dict(zip(PARTS, answers, strict=True))


async def watch(midstream: Midstream, every_s: float, *, once: bool) -> None:
    """Show the installation every so many seconds until Ctrl-C; once, where the output is no terminal."""
    if once or not sys.stdout.isatty():
        echo(page(await look(midstream), width(), None))
        return

    async def text(fit: int, most_lines: int) -> str:
        return page(await look(midstream), fit, most_lines)

    await screen.show(text, every_s)


def page(answers: dict[str, Any], fit: int, most_lines: int | None) -> str:
    """Return a screen of text of these answers; what does not fit is left out from its end."""
    workers, stats, queue, redis = (answers[name] for name in ("workers", "stats", "queue", "redis"))
    minute = stats["minutes"][-2]  # the last whole one
    memory, ends = redis["memory"], minute["outcomes"]
    tails = sum(each["tails"] for each in answers["brokers"]["data"])
    busy = sum(sum(each["states"].values()) for each in workers["data"])
    slots = sum(each["slots"] for each in workers["data"])
    oldest = span(queue["oldest_age_s"] * MS_PER_S)
    first_s = minute["first_chunk_s"]["p50"]
    first = span(None if first_s is None else first_s * MS_PER_S)
    most = f" of {size(memory['max_bytes'])}" if memory["max_bytes"] else ""
    rates = f"{minute['starts']} starts, {sum(ends.values())} ends, {ends['failed']} failed"
    speed = f"{minute['output_tokens_per_s']:.0f} tokens/s, first word {first}"
    load = f"{busy} of {slots} slots busy, {tails} tails, {queue['depth']} queued (oldest {oldest})"
    server = f"{size(memory['used_bytes'])}{most}, {redis['commands_per_s']} commands/s, {redis['clients']} clients"
    head = (f"{time.strftime('%H:%M:%S')}     {load}", f"last minute  {rates}, {speed}", f"redis        {server}")
    text = "\n\n".join(
        (
            "\n".join(line[:fit] for line in head),
            views.workers(workers, fit),
            views.brokers(answers["brokers"], fit),
            views.generations(workers, fit),
        )
    )
    return "\n".join(text.split("\n")[:most_lines])
