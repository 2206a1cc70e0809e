"""docs/testing.md as it stands there, by an installed wheel: no file of this repository is in reach."""

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import midstream
from midstream.testing import Kit, Script

ROOT = Path(__file__).parents[2]
FILES = re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)```", (ROOT / "docs/testing.md").read_text(), re.DOTALL)
WITHOUT = ("asyncio", "anyio", "randomly", "cacheprovider")
"""Plugins of pytest that need not be there."""
STORIES = 3


def test_the_page_runs_by_an_installed_wheel(tmp_path: Path) -> None:
    wheels, installed, project = tmp_path / "wheels", tmp_path / "installed", tmp_path / "project"
    build = (sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", wheels)
    subprocess.run(build, cwd=ROOT, capture_output=True, check=True)
    (wheel,) = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
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


@midstream.app("of-a-module")
async def of_a_module(_: list[Any], _params: dict[str, Any]) -> AsyncIterator[str]:
    yield "Found."


async def test_a_coroutine_uses_the_kit_and_outlives_its_server() -> None:
    with Kit(lease_ms=5_000, app_modules=__name__) as kit:
        stream = kit.client.start("x", model="app/of-a-module")
        assert kit.client.state(stream["id"], wait_s=10)["output"]["text"] == "Found."
        kit.model.script = Script(words=40, delay_ms=10)
        async with midstream.Midstream(kit.url) as client:
            stream_id = (await client.start("Go", model="openai/gpt-5"))["id"]
            text = ""
            async for entry in client.tail(stream_id):
                if entry.type == "text":
                    if not text:
                        kit.server.restart()
                    text += entry.data["text"]
        assert text == kit.model.script.text()
        assert [call.body["model"] for call in kit.model.calls] == ["gpt-5"]
