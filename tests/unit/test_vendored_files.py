"""The page's libraries are byte for byte those of the versions that are noted beside them."""

import json
from hashlib import sha256
from pathlib import Path

VENDOR = Path(__file__).parents[2] / "broker" / "midstream" / "page" / "vendor"


def test_each_file_is_that_of_its_noted_version_and_has_its_licence() -> None:
    packages = json.loads((VENDOR / "versions.json").read_text())
    noted = {name: its["sha256"] for package in packages for name, its in package["files"].items()}
    ours = {"versions.json", "markdown_it.NOTICE.txt"}
    there = {path.name: sha256(path.read_bytes()).hexdigest() for path in VENDOR.iterdir() if path.name not in ours}
    assert there == noted
    assert all(any("LICENSE" in name for name in package["files"]) for package in packages)
    scripts = [path.read_text() for path in VENDOR.glob("*.js")]
    assert len(scripts) == len(packages)
    assert all(package["version"] in "".join(scripts) for package in packages)
