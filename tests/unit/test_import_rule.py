"""Imports go downhill only. The table is the rule; DESIGN words: log is the vault, faces and hub stand on it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

GROUND = (
    *("broker.settings", "broker.request", "broker.summaries", "broker.jobs", "broker.models", "broker.reaper"),
    "broker.ending",
)
CLIENT = ("broker.client", "broker.client_tail", "broker.sse_parser")

# room: what of our own it may import, besides itself
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "broker.log": (),
    "broker.faces": ("broker.log.entries",),
    "broker.hub": ("broker.log", "broker.faces"),
    "broker.ops": ("broker.log", "broker.faces", "broker.hub", *GROUND),
    "broker.http": ("broker.log", "broker.faces", "broker.hub", "broker.ops", *GROUND),
    "broker.cli": ("broker",),
    "worker": ("broker.log", *GROUND),
    **dict.fromkeys(GROUND, ("broker.log", *GROUND)),
    **dict.fromkeys(CLIENT, CLIENT),
}

# package of others: the rooms that may import it
ONLY_IN: dict[str, tuple[str, ...]] = {
    "openai": ("worker.sources",),
    "anthropic": ("worker.sources",),
    "fastapi": ("broker.http", "broker.cli"),
    "starlette": ("broker.http", "broker.cli"),
}

# faces are pure functions: no I/O, no clock
NOT_IN_FACES = ("asyncio", "redis", "socket", "time")

STREAM_COMMANDS = {"XADD", "XRANGE", "XREVRANGE", "XREAD", "XREADGROUP", "XTRIM", "XLEN", "XDEL", "XINFO", "XSETID"}

FILES = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
         for room in ("broker", "worker") for path in sorted((ROOT / room).rglob("*.py"))}  # fmt: skip


def within(name: str, rooms: tuple[str, ...]) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and full name of everything that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).parent.parts
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def test_every_file_belongs_to_a_room_of_the_table() -> None:
    homeless = [module for module in FILES.values() if module != "broker" and not within(module, (*MAY_IMPORT,))]
    assert not homeless, "give these a room, and a line in the table"


def test_rooms_import_downhill_only() -> None:
    uphill = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path, module in FILES.items()
        for line, name in imports(path)
        if within(name, ("broker", "worker"))
        and not any(within(module, (room,)) and within(name, (room, *below)) for room, below in MAY_IMPORT.items())
    ]
    assert not uphill, "\n".join(uphill)


@pytest.mark.parametrize("package", ONLY_IN)
def test_a_package_stays_in_its_rooms(package: str) -> None:
    astray = [
        f"{path.relative_to(ROOT)}:{line}"
        for path, module in FILES.items()
        for line, name in imports(path)
        if within(name, (package,)) and not within(module, ONLY_IN[package])
    ]
    assert not astray, f"{package} belongs in {ONLY_IN[package]}"


def test_faces_are_pure() -> None:
    impure = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path, module in FILES.items()
        for line, name in imports(path)
        if within(module, ("broker.faces",)) and within(name, NOT_IN_FACES)
    ]
    assert not impure


def test_only_the_log_runs_commands_on_streams() -> None:
    astray = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path, module in FILES.items()
        if not within(module, ("broker.log",))
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Attribute) and node.attr.upper() in STREAM_COMMANDS)
        or (isinstance(node, ast.Constant) and str(node.value).partition(" ")[0] in STREAM_COMMANDS)
    ]
    assert not astray
