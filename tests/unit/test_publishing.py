"""The workflow that publishes hands on what `scripts/pack` makes; only jobs that publish may ask for a token."""

import json
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/publish.yml").read_text())
PAGE = ROOT / "broker" / "midstream" / "page"


def test_only_what_publishes_may_ask_for_a_token() -> None:
    jobs = WORKFLOW["jobs"]
    assert {name for name, job in jobs.items() if "id-token" in job["permissions"]} == {"pypi", "npm"}
    assert {name: job["environment"] for name, job in jobs.items() if "environment" in job} == {
        "pypi": "pypi",
        "npm": "npm",
    }
    assert WORKFLOW["permissions"] == {}
    assert any(step.get("run") == "scripts/pack" for step in jobs["pack"]["steps"])
    assert jobs["pypi"]["needs"] == jobs["npm"]["needs"] == "pack"


def test_the_npm_package_lists_its_entries_and_types() -> None:
    package = json.loads((PAGE / "package.json").read_text())
    files = [file for entry in package["exports"].values() if isinstance(entry, dict) for file in entry.values()]
    assert {file.removeprefix("./") for file in files} <= set(package["files"])
    assert all((PAGE / file).exists() for file in [*files, *package["files"]])
    assert package["peerDependenciesMeta"]["react"]["optional"] is True  # a page without React installs none
