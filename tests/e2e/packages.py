"""What `scripts/pack` has made in dist/, as users install it: into an empty folder, and into a page that Vite builds.

`scripts/try` runs this by name. It asks the registries for half a minute, so it is none of the tests that run together.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest
from playwright.async_api import expect

from tests.e2e.node_tests import passed
from tests.e2e.running_up import Up
from tests.servers import free_port, http_server
from tests.system import ROOT

if TYPE_CHECKING:  # pytest itself imports the plugins
    from tests.e2e.browser import Tabs

pytest_plugins = ("tests.e2e.browser",)
pytestmark = pytest.mark.timeout(120)

DIST = ROOT / "dist"
PAGE = ROOT / "examples" / "react"
PAGE_LINES = 40
"""So short is a page that survives a reload."""
COUNTED = "".join(f"{number} " for number in range(1, 101))


def run(*words: str | Path, folder: Path) -> None:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


def packed(pattern: str) -> Path:
    (file,) = DIST.glob(pattern)
    return file


def install_wheel(folder: Path) -> None:
    run(sys.executable, "-m", "venv", "installed", folder=folder)
    pip = (folder / "installed" / "bin" / "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile")
    run(*pip, f"{packed('*.whl')}[up]", folder=folder)


def build_page(folder: Path) -> None:
    shutil.copytree(PAGE, folder, ignore=shutil.ignore_patterns("node_modules", "dist"), dirs_exist_ok=True)
    npm = ("npm", "install", "--no-audit", "--no-fund", "--prefer-offline")
    run(*npm, folder=folder)
    run(*npm, "--no-save", packed("*.tgz"), folder=folder)
    run("npm", "run", "build", folder=folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder with the wheel installed, and one with the example's page built; both are made at once."""
    empty, page = tmp_path_factory.mktemp("empty"), tmp_path_factory.mktemp("page")
    with ThreadPoolExecutor() as pool:
        for done in (pool.submit(install_wheel, empty), pool.submit(build_page, page)):
            done.result()
    return empty, page


@pytest.fixture(scope="module")
def up(folders: tuple[Path, Path]) -> Iterator[Up]:
    """`midstream up` of the wheel, in a folder where nothing else is."""
    folder, _ = folders
    program = (str(folder / "installed" / "bin" / "midstream"), "up")
    running = Up(folder / "data", folder=folder, program=program, MIDSTREAM_DEMO_DELAY_MS="30")
    yield running
    running.end(signal.SIGINT)


@pytest.fixture(scope="module")
def page(folders: tuple[Path, Path]) -> Path:
    """The example's page, built with the packed client."""
    _, folder = folders
    return folder


@pytest.fixture
async def page_url(page: Path, up: Up, tmp_path: Path) -> AsyncIterator[str]:
    """Where Vite serves what it has built."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    words = (
        "node",
        "node_modules/vite/bin/vite.js",
        "preview",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--strictPort",
    )
    environment = {"PATH": os.environ["PATH"], "MIDSTREAM_URL": up.url}
    async with http_server(url, words, tmp_path / "vite.log", cwd=page, env=environment):
        yield url


async def test_the_wheel_brings_a_midstream_whose_page_answers(up: Up) -> None:
    async with httpx2.AsyncClient(base_url=up.url) as client:
        assert "<title>" in (await client.get("/")).raise_for_status().text
        assert "streamStore" in (await client.get("/midstream.js")).raise_for_status().text
        started = await client.post("/v1/streams", json={"input": "Count.", "model": "demo/count"})
        ended = await client.get(f"/v1/streams/{started.json()['id']}", params={"wait": 30}, timeout=40)
    assert ended.json()["outcome"] == "completed"


async def test_the_store_of_the_packed_module_holds_what_is_logged(page: Path, up: Up) -> None:
    shutil.copy(Path(__file__).parent / "node" / "store.mjs", page)
    assert await passed("node", page, "store.mjs", BROKER=up.url) > 0


def test_other_bundlers_take_the_packed_module(page: Path) -> None:
    bundle = page / "bundle.mjs"
    words = ("--bundle", "--format=esm", "--external:react", f"--outfile={bundle}")
    run(page / "node_modules" / ".bin" / "esbuild", "midstream-client/react", *words, folder=page)
    assert "useStream" in bundle.read_text()


@pytest.mark.browser
async def test_a_short_page_survives_a_reload(page_url: str, up: Up, tabs: "Tabs") -> None:
    assert len((PAGE / "main.jsx").read_text().splitlines()) <= PAGE_LINES
    page = await tabs.open(page_url)
    await page.get_by_label("Your question").fill("Count.")
    await page.get_by_label("Model").fill("demo/count")
    await page.get_by_role("button", name="Ask").click()
    answer, state = page.locator("p"), page.locator("output")
    await expect(answer).to_contain_text("10 ")
    await page.reload()
    await expect(answer).to_contain_text("10 ")
    await expect(state).to_have_text("live")
    await expect(state).to_have_text("completed")
    text = await answer.text_content()
    assert text
    assert text.endswith(COUNTED)
    assert text.count("99 100 ") == 1
    async with httpx2.AsyncClient(base_url=up.url) as client:
        rows = (await client.get("/v1/streams", params={"limit": 100})).json()["data"]
    assert sum(page.url.endswith(row["id"]) for row in rows) == 1
