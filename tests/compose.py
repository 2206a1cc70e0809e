"""Reads docker-compose.yml the way compose does: merge keys, and `${NAME:-default}` from a given environment."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]

_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\}")


_PART = re.compile(r"([\d.]+)(ms|s)")
_UNITS_S = {"ms": 0.001, "s": 1.0}


class MissingVariableError(Exception):
    """A variable that the file requires (`${NAME:?why}`) is not set."""


def compose_file(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the file with its variables filled in.

    Raises:
        MissingVariableError: A required variable is not in the environment.
    """
    document: dict[str, Any] = _filled(yaml.safe_load((ROOT / "docker-compose.yml").read_text()), environment)
    return document


def seconds(duration: str) -> float:
    """Return a duration in seconds, e.g. of `1s500ms`.

    Raises:
        ValueError: It is none.
    """
    parts = _PART.findall(duration)
    if "".join(map("".join, parts)) != duration:
        raise ValueError(f"{duration} is no duration")
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


def _filled(node: Any, environment: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _filled(value, environment) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled(value, environment) for value in node]
    return _VARIABLE.sub(lambda match: _value(match, environment), node) if isinstance(node, str) else node


def _value(match: re.Match[str], environment: Mapping[str, str]) -> str:
    value = environment.get(match["name"], "")
    if not value and match["kind"] == "?":
        raise MissingVariableError(f"{match['name']}: {match['rest']}")
    return value or match["rest"] or ""
