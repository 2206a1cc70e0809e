"""Prints what the children of a supervisor print, each line with the child's name before it."""

import asyncio
from contextlib import suppress
from typing import Final

from midstream.cli.terminal import echo
from midstream.journal.plain_text import harmless_line

OUTPUT_TIMEOUT_S: Final = 1.0
READ_BYTES: Final = 65_536


async def print_output(name: str, process: asyncio.subprocess.Process) -> None:
    """Print a child's output, each line with the child's name before it. Very long lines are divided."""
    assert process.stdout is not None  # noqa: S101 - it was started with a pipe
    rest = b""
    while chunk := await process.stdout.read(READ_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > READ_BYTES:
            lines, rest = [*lines, rest], b""
        for line in lines:
            say(line.decode(errors="replace"), name)
    if rest:
        say(rest.decode(errors="replace"), name)


async def finish_output(output: asyncio.Task[None]) -> None:
    """Wait a little for the last lines of a child that has ended."""
    # A grandchild may hold the pipe open longer than the child lived.
    await asyncio.wait((output,), timeout=OUTPUT_TIMEOUT_S)
    output.cancel()
    await asyncio.wait((output,))


def say(line: str, name: str) -> None:
    """Print a line with the name of the process that it comes from; a JSON line stays one."""
    harmless = harmless_line(line)
    is_json = harmless.startswith('{"')
    with suppress(OSError):  # a closed terminal is no reason to stop
        echo(f'{{"process": "{name}", {harmless[1:]}' if is_json else f"{name:<9}| {harmless}", err=True)
