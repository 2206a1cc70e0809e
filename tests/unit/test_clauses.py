"""PROTOCOL.md is a contract: every clause is cited by a test, and whatever is cited is a clause.

A citation is a clause's plain name, such as a heading of PROTOCOL.md, in a docstring or a comment.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from midstream.settings import Settings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "broker/PROTOCOL.md").read_text()
CLAUSES = re.findall(r"^### (.+)$", TEXT, re.MULTILINE)
ROOMS = {clause.partition("/")[0] for clause in CLAUSES}
SECTIONS = re.findall(r"^## (.+)$", TEXT, re.MULTILINE)
INVARIANTS = re.findall(r"^- \*\*(I\d) ", TEXT, re.MULTILINE)
UNPROVEN = {
    "Read/Lost end": "describes what a failover may lose, which no code of ours decides",
}
"""Clauses that no test proves, with the reason."""

MOST_COLUMNS = 120
SUFFIXES = ("py", "lua", "js", "mjs", "ts", "md")
FOREIGN = ("node_modules", "swagger_ui", "vendor", "evidence")
CITATION = re.compile(rf"\b(?:{'|'.join(sorted(ROOMS))})/(?=[A-Z])")
_NAMES = "|".join(re.escape(name) for name in sorted(CLAUSES, key=len, reverse=True))
CLAUSE = re.compile(rf"(?:{_NAMES})(?!\w)")
# After "PROTOCOL: " a room or a section may stand as well.
_PLACES = "|".join(re.escape(name) for name in (*SECTIONS, *ROOMS))
PLACE = re.compile(rf"(?:{_PLACES})(?![\w/])")


def _sources(*places: str) -> Iterator[tuple[str, str]]:
    """Yield the path and the words of each text below some places, on one line and without comments' signs."""
    for place in places:
        paths = [ROOT / place] if (ROOT / place).is_file() else sorted((ROOT / place).rglob("*"))
        for path in paths:
            if path.suffix[1:] in SUFFIXES and not set(FOREIGN) & set(path.parts) and path != Path(__file__):
                name = str(path.relative_to(ROOT))
                yield name, re.sub(r"\s*\n\s*(?:#|--|//|\*)?\s*", " ", path.read_text())


def _cited(text: str) -> Iterator[tuple[str, bool]]:
    """Yield each citation of a text, and whether there is such a clause."""
    for match in CITATION.finditer(text):
        clause = CLAUSE.match(text, match.start())
        yield (clause[0], True) if clause else (text[match.start() : match.end() + 20], False)


def test_every_clause_has_a_room_and_a_name_of_its_own() -> None:
    assert [clause for clause in CLAUSES if not re.fullmatch(r"[A-Z][a-z]+/[A-Z]\w*( \w+)*", clause)] == []
    assert [clause for clause, count in Counter(CLAUSES).items() if count > 1] == []


def test_every_clause_is_cited_by_a_test() -> None:
    cited = {clause for _, text in _sources("tests") for clause, is_clause in _cited(text) if is_clause}
    assert [clause for clause in CLAUSES if clause not in cited and clause not in UNPROVEN] == []
    assert [clause for clause in UNPROVEN if clause in cited or clause not in CLAUSES] == [], "proven, or gone"


def test_every_invariant_is_cited_by_a_test() -> None:
    words = {word for _, text in _sources("tests") for word in re.findall(r"\bI\d\b", text)}
    assert len(INVARIANTS) == 9
    assert [invariant for invariant in INVARIANTS if invariant not in words] == []


def test_whatever_is_cited_is_a_clause() -> None:
    places = (
        "tests",
        "broker",
        "worker",
        "examples",
        "scripts",
        "docs",
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
    )
    dangling = []
    for name, text in _sources(*places):
        dangling += [f"{name}: {what}" for what, is_clause in _cited(text) if not is_clause]
        ends = [match.end() for match in re.finditer("PROTOCOL: ", text)]
        dangling += [
            f"{name}: {text[at : at + 20]}" for at in ends if not (CLAUSE.match(text, at) or PLACE.match(text, at))
        ]
    assert dangling == []


def test_it_can_be_read_in_a_terminal() -> None:
    assert [line for line in TEXT.splitlines() if len(line) > MOST_COLUMNS] == []


def test_every_setting_that_it_names_is_one() -> None:
    is_clause = {f"MIDSTREAM_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"MIDSTREAM_[A-Z_]*[A-Z]", TEXT)) - is_clause == set()
