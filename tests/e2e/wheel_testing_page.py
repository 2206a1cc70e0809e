"""docs/testing.md as it stands there, by an installed wheel: no file of this repository is in reach.

`scripts/try` runs this by name, with the wheel that `scripts/pack` has made.
"""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.e2e.packages import packed
from tests.system import ROOT

FILES = re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)```", (ROOT / "docs/testing.md").read_text(), re.DOTALL)
WITHOUT = ("asyncio", "anyio", "randomly", "cacheprovider")
"""Plugins of pytest that need not be there."""
STORIES = 3


def test_the_page_runs_by_an_installed_wheel(tmp_path: Path) -> None:
    installed, project = tmp_path / "installed", tmp_path / "project"
    with zipfile.ZipFile(packed("*.whl")) as archive:
        archive.extractall(installed)
    project.mkdir()
    for name, text in FILES:
        (project / name).write_text(text)
    (project / "test_place.py").write_text(
        "import midstream, midstream_worker, pathlib\n\n\ndef test_place():\n"
        "    for module in (midstream, midstream_worker):\n"
        f"        assert pathlib.Path(module.__file__).is_relative_to({str(installed)!r})\n"
    )
    done = subprocess.run(
        (sys.executable, "-m", "pytest", "-q", "-rN", *(word for name in WITHOUT for word in ("-p", f"no:{name}"))),
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(installed), "MIDSTREAM_API_KEYS": "not-for-tests:acme"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert re.search(rf"^{STORIES + 1} passed", done.stdout, re.MULTILINE), done.stdout + done.stderr
