"""The one way to print what others wrote: a model's text must not command the terminal of who reads it."""

import json
import re
from typing import Any, Final

import click

from midstream.lifecycle.plain_text import harmless

_LINE_BREAKS: Final = re.compile("[\n\t\u2028\u2029]")


def harmless_line(text: str) -> str:
    """Return the text as one line that a terminal prints as it is: it cannot pretend to be another line of ours."""
    return _LINE_BREAKS.sub(" ", harmless(text))


def echo(text: str = "", *, nl: bool = True, err: bool = False, dim: bool = False) -> None:
    """Print text, made harmless."""
    click.secho(harmless(text), nl=nl, err=err, dim=dim or None)


def echo_json(value: Any) -> None:
    """Print a value as a line of JSON, exact: control characters leave as escapes."""
    # The standard library's encoder leaves DEL as it is.
    click.echo(json.dumps(value).replace("\x7f", "\\u007f"))
