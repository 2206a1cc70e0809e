"""The log's Lua uses no name that it was not given: a server would find a slip only when it comes to that line."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from midstream.log import calls, import_calls, script_call  # noqa: F401 - a module adds its calls when it is imported
from midstream.log.keys import Key
from midstream.log.state import FORMAT, format_fields

FOLDER = Path(calls.__file__).parent / "lua"
CALLS = {call.name: call for call in (*calls.Call.__subclasses__(), *calls.Append.__subclasses__())}
SCRIPTS = {name: (FOLDER / f"{'append' if name == 'seal' else name}.lua").read_text() for name in CALLS}
SHARED = {path.stem: path.read_text() for path in FOLDER.glob("shared/*.lua")}
OF_REDIS = {"redis", "cjson", "KEYS", "ARGV", "ipairs", "math", "string", "table", "tonumber", "type", "unpack"}
KEYWORD = re.compile(
    "and|break|do|else|elseif|end|false|for|function|if|in|local|nil|not|or|repeat|return|then|true|until|while"
)
COMMENT_OR_STRING = re.compile(r"--.*|^#!.*|'(?:\\.|[^'\\])*'", re.MULTILINE)


def code_of(source: str) -> str:
    """Return Lua without comments and strings."""
    return COMMENT_OR_STRING.sub("", source)


def undeclared(source: str) -> set[str]:
    """Return the names that Lua uses without having declared them anywhere."""
    code = code_of(source)
    declarations = re.findall(r"\b(?:local|for) ([\w, ]+)", code) + re.findall(r"\bfunction \w+\(([\w, ]+)", code)
    declared = set(re.findall(r"\w+", " ".join(declarations)))
    used = set(re.findall(r"(?<![\w.])[A-Za-z_]\w*(?!\w)", re.sub(r"([{,])\s*\w+ = ", r"\1", code)))
    return {name for name in used - declared - OF_REDIS if not KEYWORD.fullmatch(name)}


@pytest.mark.parametrize("name", calls.SOURCES)
def test_every_name_is_declared(name: str) -> None:
    assert undeclared(calls.SOURCES[name]) == set()


@pytest.mark.parametrize(
    "source",
    ["return ownr", "local a = 1\nb = a", "local a = {c = d}", "local function f(a)\n  return a + c\nend"],
)
def test_a_slip_is_noticed(source: str) -> None:
    assert len(undeclared(source)) == 1


@pytest.mark.parametrize("name", CALLS)
def test_a_script_uses_its_arguments_and_counts_none(name: str) -> None:
    text = SCRIPTS[name] + "".join(SHARED.values())
    assert {field.name for field in fields(CALLS[name])} <= set(re.findall(r"\w+", code_of(text)))  # type: ignore[arg-type]
    assert not re.search(r"\bKEYS\b|\bARGV\b|\bstream\[", code_of(text))


def test_names_and_shared_lines_are_resolved_before_a_server_sees_them() -> None:
    source = calls.SOURCES["renew"]
    assert "local stream = redis.call('HMGET', state, 'status', 'epoch', 'owner', 'cancel_ms')\n" in source
    assert "return {'ok', stream[4] or ''}" in source
    assert "local notes, notes_first = ARGV, 4\n" in source
    assert SHARED["clock"] in source
    assert "--- include" not in "".join(calls.SOURCES.values())


def test_scripts_know_the_formats_that_the_process_knows() -> None:
    """State/Format: a stream of the first format has no field for it, so that a start costs nothing more."""
    assert re.findall(r"> (\d+)", SHARED["newer"]) == [str(FORMAT)]
    assert [format_fields(number) for number in (1, 2)] == [(), ("format", 2)]


def test_every_file_belongs_to_a_call_or_is_shared() -> None:
    assert {path.stem for path in FOLDER.glob("*.lua")} == CALLS.keys() - {"seal"}
    assert set(re.findall(r"--- include (\w+)", "".join([*SCRIPTS.values(), *SHARED.values()]))) == SHARED.keys()


def test_a_field_that_no_state_has_is_refused_at_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "odd.lua").write_text("return stream.tial")
    monkeypatch.setattr(script_call, "_FOLDER", tmp_path)
    with pytest.raises(TypeError, match="tial"):

        class Odd(calls.Call):
            state: Key


def test_what_does_not_fit_is_refused_at_import() -> None:
    with pytest.raises(TypeError, match="keys come first"):

        class Odd(calls.Call, file="mark"):
            ttl_s: int
            marker: Key
