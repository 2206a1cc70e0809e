"""Names, comments, messages and documents use plain words (CONTRIBUTING.md); the tables are the rule."""

import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLACES = (
    "broker",
    "worker",
    "tests",
    "scripts",
    "examples",
    "docs",
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
)
KINDS = ("", ".py", ".lua", ".js", ".mjs", ".ts", ".tsx", ".html", ".md")
FOREIGN = {"swagger_ui", "node_modules", "evidence", "older_scripts", "__pycache__", "test_plain_words.py"}

# A name has none of these parts, except after a verb or a negation, as in `is_known` and `NotFound`.
NOT_IN_NAMES = {"said", "given", "told", "known", "found", "shown", "wanted", "asked", "heard"}
EXCEPT_AFTER = {"is", "are", "was", "were", "be", "been", "not", "never"}
NOT_IN_ANY_NAME = {"behind", "house"}

# What no comment, message or document says, and what to say instead.
NOT_IN_PROSE = {
    "behind": "after; what lags is behind",
    "whoever": "the one who, anybody who",
    "whosoever": "the one who, anybody who",
    "whomever": "the one whom, anybody whom",
    "lies": "is, stays",
    "lie": "is, stays",
    "lay": "was, stayed",
    "lain": "been, stayed",
    "house": "the services, the project",
    "for ever": "forever",
    "nobody is": "say who is, in the active voice",
    "somebody is": "say who is, in the active voice",
    "but for": "except",
}
ALLOWED = re.compile(
    r"\b((lag|lags|lagged|lagging|fall|falls|fell|fallen|falling|far|left|nothing) behind"
    r"|behind (a|an|the|your|its) (\w+ )?(proxy|load balancer)|behind nginx)\b"
)

# Rooms that are not clean yet. A room that is clean leaves this list, and it stays clean.
NOT_YET = ("broker/midstream/cli",)

PHRASE = re.compile(rf"\b({'|'.join(NOT_IN_PROSE)})\b", re.IGNORECASE)
QUOTED = re.compile(r"//.*|/\*[\s\S]*?\*/|--.*|\"[^\"\n]*\"|'[^'\n]*'|`[^`]*`")


def _names_and_prose(path: Path) -> tuple[list[str], list[str]]:
    text = path.read_text()
    if path.suffix == ".py" or "python" in text.partition("\n")[0]:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
        foreign = {"given"} if "from hypothesis import" in text else set()
        names = [token.string for token in tokens if token.type == tokenize.NAME and token.string not in foreign]
        return names, [token.string for token in tokens if token.type not in (tokenize.NAME, tokenize.OP)]
    if path.suffix in (".lua", ".js", ".mjs", ".ts", ".tsx"):
        return re.findall(r"[A-Za-z]\w*", QUOTED.sub(" ", text)), QUOTED.findall(text)
    return [], [re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)]


def _is_private_word(name: str) -> bool:
    words = " ".join(re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)).lower()
    parts = ALLOWED.sub("", words).split()
    nouns = {part for before, part in zip(["", *parts], parts, strict=False) if before not in EXCEPT_AFTER}
    return bool(NOT_IN_ANY_NAME & nouns or (NOT_IN_NAMES & nouns and not words.startswith("test ")))


@cache
def _faults(path: Path) -> list[str]:
    return [*_each_fault(path)]


def _each_fault(path: Path) -> Iterator[str]:
    names, prose = _names_and_prose(path)
    yield from (f"the name {name}" for name in sorted({*names}) if _is_private_word(name))
    for words in prose:
        sentence = re.sub(r"\{[^{}]*\}", "", re.sub(r"\s+((#|--|//|\*) )?\s*", " ", words))
        sentence = ALLOWED.sub("", sentence) if " " in sentence else ""
        for match in PHRASE.finditer(sentence):
            context = sentence[max(0, match.start() - 30) : match.end() + 20]
            yield f"“{context}”: {NOT_IN_PROSE[match[0].lower()]}"


def _texts() -> Iterator[Path]:
    for place in PLACES:
        paths = sorted((ROOT / place).rglob("*")) if (ROOT / place).is_dir() else [ROOT / place]
        yield from (path for path in paths if path.is_file() and path.suffix in KINDS and not FOREIGN & {*path.parts})


def _room(path: Path) -> str | None:
    """Return the innermost room of the list that a file is in."""
    inside = [room for room in NOT_YET if path.is_relative_to(ROOT / room)]
    return max(inside, key=len, default=None)


def test_what_is_clean_stays_clean() -> None:
    faults = [f"{path.relative_to(ROOT)}: {fault}" for path in _texts() if not _room(path) for fault in _faults(path)]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("room", NOT_YET)
def test_a_room_that_is_clean_leaves_the_list(room: str) -> None:
    assert any(_room(path) == room and _faults(path) for path in _texts())
