"""The page's and the console's scripts can be parsed, which no other unit test would notice."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOMS = [Path(__file__).parents[2] / "broker" / "midstream" / room for room in ("page", "page/midstream", "console")]
PARSE = """
import { readFileSync } from "node:fs";
import { SourceTextModule } from "node:vm";
for (const path of process.argv.slice(1)) new SourceTextModule(readFileSync(path, "utf8"), { identifier: path });
console.log(process.argv.length - 1);
"""


def test_every_script_can_be_parsed() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no `node` on the PATH")
    paths = [str(path) for room in ROOMS for path in sorted(room.glob("*.js"))]
    words = [node, "--experimental-vm-modules", "--no-warnings", "--input-type=module", "-e", PARSE, *paths]
    parsed = subprocess.run(words, capture_output=True, text=True, check=False)
    assert parsed.returncode == 0, parsed.stderr
    assert int(parsed.stdout) == len(paths) > 0
