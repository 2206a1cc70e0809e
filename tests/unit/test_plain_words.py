"""Names, comments, messages and documents use plain words (CONTRIBUTING.md); the tables are the rule."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("broker", "worker", "tests", "scripts", "examples", "docs")
KINDS = ("", ".py", ".lua", ".js", ".mjs", ".ts", ".tsx", ".html", ".md")
FOREIGN = {"swagger_ui", "vendor", "node_modules", "evidence", "older_scripts", "__pycache__", "test_plain_words.py"}

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


def _faults(path: Path) -> Iterator[str]:
    names, prose = _names_and_prose(path)
    yield from (f"the name {name}" for name in sorted({*names}) if _is_private_word(name))
    for words in prose:
        sentence = re.sub(r"\{[^{}]*\}", "", re.sub(r"\s+((#|--|//|\*) )?\s*", " ", words))
        sentence = ALLOWED.sub("", sentence) if " " in sentence else ""
        for match in PHRASE.finditer(sentence):
            context = sentence[max(0, match.start() - 30) : match.end() + 20]
            yield f"“{context}”: {NOT_IN_PROSE[match[0].lower()]}"


def _texts() -> Iterator[Path]:
    paths = [*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file())]
    yield from (path for path in sorted(paths) if path.suffix in KINDS and not FOREIGN & {*path.parts})


def test_names_and_prose_use_plain_words() -> None:
    faults = [f"{path.relative_to(ROOT)}: {fault}" for path in _texts() for fault in _faults(path)]
    assert not faults, "\n".join(faults)
