"""The only way to print text of others, because a model's text must not control the terminal of its reader."""

import json
import sys
from typing import Any

import click

from midstream.journal.plain_text import harmless


def echo(text: str = "", *, nl: bool = True, err: bool = False, dim: bool = False) -> None:
    """Print text without its control characters."""
    click.secho(harmless(text), nl=nl, err=err, dim=dim or None)


def echo_progress(done: int, of: int, unit: str) -> None:
    """Print to stderr how far a command has come: on a terminal in the place of what was printed before."""
    end = "\n" if done >= of or not sys.stderr.isatty() else "\r"
    click.echo(f"{100 * done // max(of, 1):3d} %, {done} of {of} {unit}{end}", nl=False, err=True)


def echo_json(value: Any) -> None:
    """Print a value as a line of JSON. Nothing is lost: control characters are escaped."""
    # The standard library's encoder leaves DEL as it is.
    click.echo(json.dumps(value).replace("\x7f", "\\u007f"))
