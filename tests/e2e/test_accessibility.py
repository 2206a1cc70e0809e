"""The pages' accessibility by axe's rules for WCAG 2.2 AA, in both colour schemes."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import httpx2
import pytest
from playwright.async_api import Page, expect

from midstream.settings import Settings
from tests import inside
from tests.e2e.chat_page import ask, outcome
from tests.e2e.console_page import ended, operated, signed_in, started, url_of
from tests.e2e.node_tests import installed

if TYPE_CHECKING:  # pytest itself imports the plugins
    from tests.e2e.browser import Tabs

pytest_plugins = ("tests.e2e.browser",)
pytestmark = pytest.mark.browser

FOLDER = Path(__file__).with_name("node")
AXE = FOLDER / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
SCHEMES: tuple[Literal["light"], Literal["dark"]] = ("light", "dark")


async def faults(page: Page) -> list[str]:
    """Return what axe finds wrong with a page as it is now, in both colour schemes."""
    barriers: set[str] = set()
    await page.evaluate(AXE.read_text())
    for scheme in SCHEMES:
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        report: dict[str, Any] = await page.evaluate("(rules) => axe.run(document, {runOnly: rules})", RULES)
        assert report["passes"], "axe has looked at nothing"
        barriers |= {f"{each['id']} {node['html']}" for each in report["violations"] for node in each["nodes"]}
    return sorted(barriers)


async def test_the_console_has_no_barriers(tabs: "Tabs", settings: Settings, tmp_path: Path) -> None:
    """Operate/Console."""
    installed(FOLDER)
    tabs.expected.add("401")
    async with operated(settings, tmp_path) as client:
        await _look_at_the_console(tabs, client)


async def _look_at_the_console(tabs: "Tabs", client: httpx2.AsyncClient) -> None:
    stream_id = await started(client, 3, 1, user="ada", metadata={"job": "7"})
    await ended(client, stream_id)
    page = await tabs.open(url_of(client, ""))
    await expect(page.get_by_placeholder("Operator's key")).to_be_visible()
    assert await faults(page) == []
    await page.close()

    page = await signed_in(tabs, client, "")
    assert await faults(page) == []
    of_stream = f"/streams/acme/{stream_id}"
    parts = {"/streams": "tbody a", "/processes": "tbody tr", "/audit": "main h1", of_stream: ".layer .entry"}
    for path, part in parts.items():
        await page.goto(url_of(client, path))
        await expect(page.locator(part).first).to_be_visible()
        await page.locator("main").evaluate(
            "(it) => it.querySelectorAll('details').forEach((each) => (each.open = true))"
        )
        assert await faults(page) == [], path
    await page.get_by_role("button", name="Delete").click()
    assert await faults(page) == [], "with a question"
    await page.close()


async def test_the_chat_has_no_barriers(tabs: "Tabs", settings: Settings) -> None:
    installed(FOLDER)
    async with inside.worker(settings), inside.broker(settings) as client:
        page = await tabs.open(f"http://localhost:{client.base_url.port}/")
        assert await faults(page) == []
        await ask(page, "one two three")
        await expect(outcome(page)).to_contain_text("Completed")
        assert await faults(page) == []
        await page.close()
