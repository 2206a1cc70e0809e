"""The one way to print what others wrote: a model's text must not command the terminal of who reads it."""

import json
import re
from typing import Any, Final

import click

_COMMANDS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters (C0 and C1) but newline and tab, what overrides the direction of text, and lone surrogates."""
_LINE_BREAKS: Final = re.compile("[\n\t\u2028\u2029]")
_SHOWN_AS: Final = "\ufffd"


def harmless(text: str) -> str:
    """Return the text with every character that a terminal would obey replaced; newline and tab stay."""
    return _COMMANDS.sub(_SHOWN_AS, text.replace("\r\n", "\n"))


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
