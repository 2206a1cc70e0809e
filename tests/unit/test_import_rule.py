"""Imports go downhill only. The table is the rule, and docs/architecture.md draws it."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

GROUND = ("midstream.settings", "midstream.requests", "midstream.lifecycle", "midstream.money")

# room: what of our own it may import, besides itself
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "midstream.counters": (),
    "midstream.file_watch": (),
    "midstream.redis_address": (),
    "midstream.access": ("midstream.redis_address",),
    "midstream.metrics": ("midstream.counters", "midstream.access.host_names"),
    "midstream.journal": (),
    "midstream.money": (),
    "midstream.traces": ("midstream.journal.trace_ids", "midstream.log"),
    "midstream.settings": (
        *("midstream.access.access_settings", "midstream.access.connection_settings"),
        "midstream.access.app_settings",
        *("midstream.access.limit_settings", "midstream.journal.journal_settings"),
        *("midstream.access.secret_files", "midstream.access.provider_settings"),
        *("midstream.access.timeout_settings", "midstream.access.redis_settings"),
        *("midstream.ends.ends_settings", "midstream.metrics.metrics_settings", "midstream.traces.trace_settings"),
        "midstream.money.money_settings",
    ),
    "midstream.app_registry": ("midstream.access.access_settings", "midstream.settings"),
    "midstream.embedded": ("midstream.settings",),
    "midstream.log": ("midstream.counters", "midstream.redis_address"),
    "midstream.requests": ("midstream.access.provider_settings", "midstream.log", "midstream.settings"),
    "midstream.lifecycle": (
        *("midstream.counters", "midstream.traces", "midstream.log", "midstream.requests", "midstream.settings"),
        "midstream.money",
    ),
    "midstream.attempts": (
        *("midstream.counters", "midstream.journal.plain_text", "midstream.settings", "midstream.log"),
        *("midstream.lifecycle", "midstream.money", "midstream.traces"),
    ),
    "midstream.filters": (
        *("midstream.attempts", "midstream.journal.plain_text", "midstream.log", "midstream.requests"),
        "midstream.settings",
    ),
    "midstream.ends": ("midstream.counters", "midstream.file_watch", "midstream.log", "midstream.settings"),
    "midstream.adapters": ("midstream.attempts.delta", "midstream.log.entries"),
    "midstream.client": (),
    "midstream.sync": ("midstream.client", "midstream.producer"),
    "midstream.faces": ("midstream.log.entries",),
    "midstream.hub": ("midstream.counters", "midstream.access.grant", "midstream.log", "midstream.faces"),
    "midstream.finder": ("midstream.log", "midstream.settings"),
    "midstream.service": (
        "midstream.attempts",
        "midstream.access",
        "midstream.finder",
        "midstream.journal",
        "midstream.log",
        *("midstream.faces.face", "midstream.faces.thread"),
        *("midstream.ends", "midstream.hub"),
        *GROUND,
        *("midstream.counters", "midstream.file_watch", "midstream.traces"),
    ),
    "midstream.producer": (
        *("midstream.access", "midstream.counters", "midstream.log", "midstream.attempts", "midstream.filters"),
        "midstream.embedded.own_address",
        *("midstream.lifecycle", "midstream.requests", "midstream.settings"),
        *("midstream.service.start_limits", "midstream.service.allowed_starts", "midstream.service.new_stream"),
        *("midstream.service.producer_refusal", "midstream.service.taken_up"),
    ),
    "midstream.operate": (
        *("midstream.access", "midstream.counters", "midstream.journal", "midstream.log", *GROUND),
        *("midstream.hub.tail", "midstream.faces", "midstream.finder", "midstream.service"),
    ),
    # Not the log, the registry or the hub themselves: whatever concerns a stream goes through a `Caller` (I7).
    "midstream.http": (
        *("midstream.log.answer", "midstream.log.entries", "midstream.log.errors", "midstream.log.keys"),
        *("midstream.faces", "midstream.hub.tail", "midstream.hub.sender"),
        *("midstream.service", "midstream.operate", "midstream.requests", "midstream.settings"),
        *("midstream.counters", "midstream.finder.where"),
        *("midstream.embedded.own_address", "midstream.embedded.own_server"),
        "midstream.producer.background",
        *(
            *("midstream.access.app_caller", "midstream.access.grant"),
            "midstream.access.host_names",
            "midstream.access.refusals",
            "midstream.journal.audit",
        ),
    ),
    "midstream.cli": ("midstream",),
    # The only room of the broker's root that knows the worker: it runs both in the process of a test.
    "midstream.testing": (
        "midstream.app_registry",
        "midstream.settings",
        "midstream.http",
        "midstream.sync",
        "midstream_worker",
    ),
    "midstream_worker": (
        *("midstream.journal", "midstream.log", *GROUND, "midstream.counters", "midstream.metrics"),
        *("midstream.attempts", "midstream.ends", "midstream.file_watch", "midstream.traces", "midstream.filters"),
        "midstream.app_registry",
    ),
}

# folder of http: which other folders of it it may import, besides the files that are in no folder. Of those only
# `app.py`, which puts everything together, imports folders.
FOLDERS_OF_HTTP: dict[str, tuple[str, ...]] = {
    "fast_path": (),
    "tails": ("fast_path",),
    "native": ("tails",),
    "socket": ("fast_path",),
    "ai_sdk": ("tails",),
    "in_app": (),
    "peers": ("fast_path", "tails"),
    "responses": ("peers",),
    "chat": ("peers",),
    "messages": ("peers",),
    "operate": ("fast_path",),
}

# package of others, or file of ours: the rooms that may import it
ONLY_IN: dict[str, tuple[str, ...]] = {
    "openai": ("midstream_worker.sources", "midstream.testing.provider"),
    "anthropic": ("midstream_worker.sources", "midstream.testing.provider"),
    "google": ("midstream_worker.sources",),
    "fastapi": ("midstream.http", "midstream.cli"),
    "starlette": ("midstream.http", "midstream.cli", "midstream.testing"),
    "regex": ("midstream.filters",),
    "jwt": ("midstream.access",),
    "tiktoken": ("midstream.service",),
    "structlog": ("midstream.journal",),
    "prometheus_client": ("midstream.metrics",),
    # Adapters know their frameworks by the names of events alone.
    **dict.fromkeys(("agents", "langchain_core", "langgraph", "pydantic_ai"), ()),
    "opentelemetry": ("midstream.traces",),
    # They reach every tenant's streams.
    "midstream.service.resources": ("midstream.service", "midstream.operate"),
}

# what gives access to streams: the only file that makes it, after the check that it needs (I7)
MADE_ONLY_IN: dict[str, str] = {
    "caller": "midstream.http.auth",  # of `Services`: the credential was verified
    "trusted_caller": "midstream.http.auth",  # an app has found out who it is
    "Caller": "midstream.service.services",
    "Operator": "midstream.http.auth",  # the scope `operate` was required
    "CallerStreams": "midstream.service.caller",
    "CallerChat": "midstream.service.caller",
    "CallerFollower": "midstream.service.caller_streams",
    "StreamHandle": "midstream.service.caller_streams",  # the tenant was compared
}

# faces are pure functions: no I/O, no clock
NOT_IN_FACES = ("asyncio", "redis", "socket", "time")

STREAM_COMMANDS = {"XADD", "XRANGE", "XREVRANGE", "XREAD", "XREADGROUP", "XTRIM", "XLEN", "XDEL", "XINFO", "XSETID"}

# docs/architecture.md draws the table, and names the files to begin reading with.
PAGE = (ROOT / "docs/architecture.md").read_text()
PLACES = (ROOT, ROOT / "broker/midstream", ROOT / "worker")

FILES = {path: ".".join(path.relative_to(ROOT / root).with_suffix("").parts).removesuffix(".__init__")
         for root in ("broker", "worker") for path in sorted((ROOT / root).rglob("*.py"))}  # fmt: skip


def within(name: str, rooms: tuple[str, ...]) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def imports(path: Path) -> tuple[tuple[int, str], ...]:
    """Return line and full name of everything that a file imports, wherever in it."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).parent.parts[1:]
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


@cache
def calls(path: Path) -> frozenset[str]:
    """Return the names of all functions, methods and classes that a file calls."""
    called = (node.func for node in ast.walk(parsed(path)) if isinstance(node, ast.Call))
    return frozenset(getattr(func, "attr", getattr(func, "id", "")) for func in called)


def test_every_file_belongs_to_a_room_of_the_table() -> None:
    homeless = [module for module in FILES.values() if module != "midstream" and not within(module, (*MAY_IMPORT,))]
    assert not homeless, "give these a room, and a line in the table"


def test_rooms_import_downhill_only() -> None:
    uphill = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path, module in FILES.items()
        for line, name in imports(path)
        if within(name, ("midstream", "midstream_worker"))
        and module != "midstream"  # the package itself names what is public, and loads it when it is asked for
        and not any(within(module, (room,)) and within(name, (room, *below)) for room, below in MAY_IMPORT.items())
    ]
    assert not uphill, "\n".join(uphill)


def folder_of_http(name: str) -> str | None:
    folder = name.removeprefix("midstream.http.").partition(".")[0]
    return folder if (ROOT / "broker" / "midstream" / "http" / folder / "__init__.py").exists() else None


def test_folders_of_http_import_downhill_only() -> None:
    uphill = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path, module in FILES.items()
        if within(module, ("midstream.http",)) and module != "midstream.http.app"
        for line, name in imports(path)
        if within(name, ("midstream.http",)) and (folder := folder_of_http(name))
        if folder not in (own := folder_of_http(module), *FOLDERS_OF_HTTP.get(own or "", ()))
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


@pytest.mark.parametrize("name", MADE_ONLY_IN)
def test_access_to_streams_is_given_in_one_place(name: str) -> None:
    """I7."""
    makers = {module for path, module in FILES.items() if name in calls(path)}
    assert makers == {MADE_ONLY_IN[name]}


def test_faces_are_pure() -> None:
    impure = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path, module in FILES.items()
        for line, name in imports(path)
        if within(module, ("midstream.faces",)) and within(name, NOT_IN_FACES)
    ]
    assert not impure


def test_only_the_log_runs_commands_on_streams() -> None:
    astray = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path, module in FILES.items()
        if not within(module, ("midstream.log",))
        for node in ast.walk(parsed(path))
        if (isinstance(node, ast.Attribute) and node.attr.upper() in STREAM_COMMANDS)
        or (isinstance(node, ast.Constant) and str(node.value).partition(" ")[0] in STREAM_COMMANDS)
    ]
    assert not astray


def test_every_path_on_the_page_exists() -> None:
    paths = re.findall(r"`((?:\w+/)+[\w.]*|\w+\.(?:py|js|lua))`", PAGE)
    assert len(paths) > 30
    assert [path for path in paths if not any((place / path).exists() for place in PLACES)] == []


def test_the_map_has_the_arrows_of_the_import_rule() -> None:
    lines = re.findall(r"^(\w+)(?: +─▶ (.*?))?(?:   .*)?$", PAGE.split("```")[1], re.MULTILINE)
    arrows = {room: {name.strip() for name in below.split(",")} - {""} for room, below in lines}
    rule = {
        room.removeprefix("midstream."): {name.split(".")[1] for name in below if "." in name}
        for room, below in MAY_IMPORT.items()
    }
    assert arrows.pop("cli") == {"everything in midstream"}
    assert rule.pop("cli") == set()
    assert arrows == rule


def test_every_room_is_in_the_table_of_the_page() -> None:
    rooms = [room.removeprefix("midstream.") for room in MAY_IMPORT]
    assert [room for room in rooms if f"`{room}/`" not in PAGE and f"`{room}.py`" not in PAGE] == []
