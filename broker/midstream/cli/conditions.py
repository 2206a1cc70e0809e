"""The conditions of a search, as they are typed."""

import click


def condition(text: str, option: str = "--where") -> tuple[str, str]:
    """Return the name and the value that an option holds.

    Raises:
        click.UsageError: There is no name, or no value.
    """
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise click.UsageError(f"{option} needs a name, `=` and a value, and {text!r} has not all of them.")
    return name, value
