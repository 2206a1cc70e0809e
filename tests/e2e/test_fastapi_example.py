"""`examples/fastapi_app`, as its reader starts it: an app with its own server, and its page in a browser."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.servers import free_port, http_server
from tests.system import ROOT

if TYPE_CHECKING:  # pytest itself imports the plugins
    from tests.e2e.browser import Tabs

pytest_plugins = ("tests.e2e.browser",)

ANSWER = "You ask: Why is the sky blue? That depends on what you know about it already, and I have all day."


@pytest.mark.browser
async def test_the_page_survives_a_reload_and_a_second_tab(tabs: "Tabs", tmp_path: Path) -> None:
    """Router/Embedded."""
    url = f"http://127.0.0.1:{free_port()}"
    words = (sys.executable, "-m", "uvicorn", "--app-dir", str(ROOT / "examples/fastapi_app"), "app:app", "--port")
    environment = {"PATH": os.environ["PATH"]}
    async with http_server(url, (*words, url.rpartition(":")[2]), tmp_path / "app.log", cwd=tmp_path, env=environment):
        page = await tabs.open(url)
        await page.get_by_role("button", name="Ask").click()
        await expect(page.locator("#answer")).to_contain_text("Why is")
        await page.reload()
        for each in (page, await tabs.open(page.url)):
            await expect(each).to_have_title("completed", timeout=20_000)
            assert (await each.locator("#answer").text_content() or "").strip() == ANSWER
