"""The locks of requirements/ are those of pyproject.toml: every dependency is in them, with the hashes of its files."""

import re
import tomllib
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = ["server", "up", "dev"]
BESIDE = ("otel", "tokens", "gemini", "adapters")
"""Extras that a server does without, each with a lock of its own."""
if find_spec("opentelemetry.sdk"):
    LOCKS.append("otel")
if find_spec("tiktoken"):
    LOCKS.append("tokens")
if find_spec("google") and find_spec("google.genai"):
    LOCKS.append("gemini")
if find_spec("langgraph") and find_spec("pydantic_ai") and find_spec("agents"):
    LOCKS.append("adapters")
PIN = re.compile(r"^(?P<pin>\S+==[^\n\\]+?) \\\n(?P<hashes>(?:    --hash=\S+(?: \\)?\n)+)", re.MULTILINE)


@cache
def pins(lock: str) -> dict[str, Requirement]:
    """Return what a lock pins, by name, without what another system or Python needs."""
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    pinned = [Requirement(match["pin"]) for match in PIN.finditer(text)]
    return {canonicalize_name(each.name): each for each in pinned if each.marker is None or each.marker.evaluate()}


def direct(extra: str) -> list[Requirement]:
    """Return what an extra asks for by itself and by the extras that it names."""
    requirements = [*map(Requirement, PROJECT["dependencies"])]
    for text in PROJECT["optional-dependencies"][extra]:
        requirement = Requirement(text)
        named = requirement.extras if requirement.name == PROJECT["name"] else set()
        requirements += [each for name in sorted(named) for each in direct(name)] if named else [requirement]
    return requirements


def needed(extra: str) -> set[str]:
    """Return all that an extra needs, by what the installed distributions ask for."""
    waiting = direct(extra)
    names: set[str] = set()
    done: set[tuple[str, str]] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        names.add(name)
        for each in ("", *requirement.extras):
            if (name, each) not in done:
                done.add((name, each))
                further = map(Requirement, metadata.requires(name) or ())
                waiting += [it for it in further if it.marker is None or it.marker.evaluate({"extra": each})]
    return names


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_what_is_needed_and_nothing_else(lock: str) -> None:
    extra = needed(lock)
    build = set() if lock in ("server", *BESIDE) else {canonicalize_name(name) for name in pins("build")}
    assert {*pins(lock)} == extra | build, "run scripts/lock"


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_versions_that_the_project_allows(lock: str) -> None:
    for requirement in direct(lock):
        (specifier,) = pins(lock)[canonicalize_name(requirement.name)].specifier
        assert requirement.specifier.contains(specifier.version), requirement


def test_the_locks_have_one_version_of_each_and_those_that_are_tested() -> None:
    tested = pins("dev")
    for lock in ("up", "server", "build", "publish", *BESIDE):
        others = lock in ("publish", *BESIDE)
        pinned = {name: pin.specifier for name, pin in pins(lock).items() if name in tested or not others}
        assert {name: pin for name, pin in pinned.items() if pin != tested[name].specifier} == {}
    installed: dict[str, str] = {canonicalize_name(each.name): each.version for each in metadata.distributions()}
    assert {
        name: installed[name] for name in tested.keys() & installed if not is_pin(tested[name], installed[name])
    } == {}


def is_pin(pin: Requirement, version: str) -> bool:
    return pin.specifier.contains(version, prereleases=True)


@pytest.mark.parametrize("lock", [*LOCKS, "build", "publish", "audit", "chart", "site", "local-model"])
def test_every_line_of_a_lock_is_a_pin_with_hashes(lock: str) -> None:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    rest = PIN.sub("", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    assert rest == ""
    assert len(pins(lock)) > 1
