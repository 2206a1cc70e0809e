"""What is asked of the person at the terminal before many things are done at once."""

import sys
from typing import Final

import click

from midstream.cli.terminal import echo

EXIT_REFUSED: Final = 1
"""The exit status where an act was refused by a stream, or by the person at the terminal."""


def is_confirmed(act: str, count: int, unit: str) -> bool:
    """Ask for the count; tell whether it was typed, and print that nothing was done where it was not.

    Raises:
        click.UsageError: Nobody can be asked.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError(f"{count} {unit} fit. There is no terminal to ask at: add --yes to {act} them.")
    answer: str = click.prompt(f"{act}: {count} {unit} fit. Type their number to go on", default="", err=True)
    if answer.strip() == str(count):
        return True
    echo("nothing was done", err=True)
    return False
