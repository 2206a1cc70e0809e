"""What the code cites of docs/findings.md stands there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
CITATION = re.compile(r"docs/findings\.md: ([\w -]+?)[).]")


def test_every_cited_section_exists() -> None:
    sections = set(re.findall(r"^## (.+)$", (ROOT / "docs/findings.md").read_text(), re.MULTILINE))
    sources = [
        path for room in ("broker", "worker") for suffix in ("py", "lua") for path in (ROOT / room).rglob(f"*.{suffix}")
    ]
    cited = {(path.name, section) for path in sources for section in CITATION.findall(path.read_text())}
    assert cited, "nothing is cited: is the pattern still right?"
    assert not {(name, section) for name, section in cited if section not in sections}
