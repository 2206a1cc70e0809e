"""The pages' accessibility by axe's rules for WCAG 2.2 AA, in both colour schemes."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import httpx2
import pytest
from playwright.async_api import Page, expect

from midstream.attempts.delta import Delta, Reasoning, Text, ToolCall
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
OPTIONS = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
    "resultTypes": ["violations"],  # of what passes, one element for each rule
}
SCHEMES: tuple[Literal["light"], Literal["dark"]] = ("light", "dark")


async def bring_axe(tabs: "Tabs") -> None:
    """Give axe to every page that is opened after this."""
    installed(FOLDER)
    await tabs.context.add_init_script(path=AXE)


async def faults(page: Page) -> list[str]:
    """Return what axe finds wrong with a page as it is now, in both colour schemes."""
    barriers: set[str] = set()
    for scheme in SCHEMES:
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        report: dict[str, Any] = await page.evaluate("(options) => axe.run(document, options)", OPTIONS)
        assert report["passes"], "axe has looked at nothing"
        barriers |= {f"{each['id']} {node['html']}" for each in report["violations"] for node in each["nodes"]}
    return sorted(barriers)


async def test_the_console_has_no_barriers(tabs: "Tabs", settings: Settings, tmp_path: Path) -> None:
    """Operate/Console."""
    await bring_axe(tabs)
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


MARKDOWN = """## A heading

Text with `code`, **marks** and [a link](https://example.org/).

| a | b |
|---|--:|
| 1 | 2 |

```python
def f(x: int) -> str:  # a comment
    return "text" + str(1.5)
```
"""


async def rich(messages: list[dict[str, Any]], params: dict[str, Any]) -> AsyncIterator[Delta]:
    """Answer with all that the page shows in a way of its own; the second time fail."""
    yield Reasoning("First I think.")
    yield ToolCall("call_1", "weather", '{"city": "Zürich"}')
    yield Text(MARKDOWN)
    if len(messages) > 1:
        raise RuntimeError(str(params))


async def test_the_chat_has_no_barriers(tabs: "Tabs", settings: Settings) -> None:
    await bring_axe(tabs)
    apps = {"rich": f"{__name__}:rich"}
    ours = settings.model_copy(update={"apps": apps, "default_model": "app/rich"})
    async with inside.worker(ours), inside.broker(ours) as client:
        page = await tabs.open(f"http://localhost:{client.base_url.port}/")
        assert await faults(page) == []
        await ask(page, "one two three")
        await expect(outcome(page)).to_contain_text("Completed")
        await expect(page.locator(".hljs-keyword").first).to_be_visible()
        await ask(page, "four")
        await expect(outcome(page)).to_contain_text("Failed")
        await (
            page.get_by_role("article", name="Answer")
            .first.locator("details")
            .evaluate_all("(all) => all.forEach((each) => (each.open = true))")
        )
        assert await faults(page) == [], "wide"
        await page.set_viewport_size({"width": 390, "height": 844})
        assert await faults(page) == [], "narrow"
        await page.get_by_role("button", name="Conversations").click()
        await expect(page.get_by_role("navigation").get_by_role("link")).to_be_focused()
        assert await faults(page) == [], "with the drawer"
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("button", name="Cancel")).to_be_focused()
        assert await faults(page) == [], "with a question"
        await page.keyboard.press("Escape")
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("button", name="Conversations")).to_be_focused()
        await page.get_by_role("button", name="Edit message").last.focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_label("New words")).to_be_focused()
        assert await faults(page) == [], "with a field"
        await tabs.close()
