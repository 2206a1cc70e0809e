"""The only way to print text of others, because a model's text must not control the terminal of its reader."""

import json
import re
from typing import Any, Final

import click

from midstream.lifecycle.plain_text import harmless

_LINE_BREAKS: Final = re.compile("[\n\t\u2028\u2029]")


def harmless_line(text: str) -> str:
    """Return the text as one line without control characters, so that it cannot pass for another line of ours."""
    return _LINE_BREAKS.sub(" ", harmless(text))


def echo(text: str = "", *, nl: bool = True, err: bool = False, dim: bool = False) -> None:
    """Print text without its control characters."""
    click.secho(harmless(text), nl=nl, err=err, dim=dim or None)


def echo_json(value: Any) -> None:
    """Print a value as a line of JSON. Nothing is lost: control characters are escaped."""
    # The standard library's encoder leaves DEL as it is.
    click.echo(json.dumps(value).replace("\x7f", "\\u007f"))
