"""Conversations that are deleted from the page's list, by who may and by who may not."""

import asyncio
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.async_api import Locator, Page, Route, expect
from pydantic import SecretStr

from midstream.settings import Settings
from tests import inside
from tests.e2e.chat_page import SLOW, ask, echoing, outcome

if TYPE_CHECKING:  # pytest itself imports the plugins
    from tests.e2e.browser import Tabs

pytest_plugins = ("tests.e2e.browser",)

KEY = "k" * 32
READER = "r" * 32
KEYS = '[[keys]]\nname = "reader"\nsha256 = "{}"\ntenant = "acme"\nscopes = ["read"]\n'


def listed(page: Page) -> Locator:
    return page.get_by_role("navigation", name="Conversations").get_by_role("link")


async def test_a_conversation_is_deleted_by_keyboard_and_leaves_every_tab(tabs: "Tabs", settings: Settings) -> None:
    """Threads/Delete."""
    ours = echoing(settings)
    async with inside.worker(ours), inside.broker(ours) as client:
        page = await tabs.open(f"http://localhost:{client.base_url.port}/")
        for text in ("first", "second", f"third {SLOW}"):
            await page.get_by_role("button", name="New chat").click()
            await ask(page, text)
        other = await tabs.open(page.url)
        await expect(other.locator(".turn")).to_have_count(1)
        await expect(listed(page)).to_contain_text(["third", "second", "first"])

        await page.bring_to_front()
        await listed(page).nth(1).focus()
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog")).to_contain_text("“second” will be deleted")
        await page.keyboard.press("Escape")
        button = page.get_by_role("button", name="Delete “second”")
        await expect(button).to_be_focused()
        await page.keyboard.press("Enter")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await expect(listed(page)).to_contain_text(["third", "first"])
        await expect(listed(page).nth(1)).to_be_focused()
        await expect(page.get_by_role("status")).to_have_text("The conversation was deleted.")
        await expect(page.locator(".turn")).to_have_count(1)

        await page.get_by_role("button", name=f"Delete “third {SLOW}”").click()
        await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        await expect(page.get_by_label("Your message")).to_be_focused()
        await expect(page.get_by_role("alert")).to_be_hidden()
        await expect(other.get_by_role("alert")).to_contain_text("no longer there")
        for each in (page, other):
            await expect(each.locator(".turn")).to_have_count(0)
            assert each.url.endswith("/")
        (left,) = (await client.get("/v1/threads")).json()["data"]
        assert left["title"] == "first"
        await tabs.close()
    tabs.expected.add("404")


async def test_a_conversation_stays_where_it_may_only_be_read(tabs: "Tabs", settings: Settings, tmp_path: Path) -> None:
    """Access/Scopes."""
    (tmp_path / "keys.toml").write_text(KEYS.format(sha256(READER.encode()).hexdigest()))
    ours = echoing(settings).model_copy(
        update={"api_keys": SecretStr(f"{KEY}:acme"), "keys_file": tmp_path / "keys.toml"}
    )
    async with inside.worker(ours), inside.broker(ours) as client:
        body = {"input": "one", "thread": "kept"}
        await client.post("/v1/streams", json=body, headers={"Authorization": f"Bearer {KEY}"})
        page = await tabs.open(f"http://localhost:{client.base_url.port}/?thread=kept")
        await page.get_by_label("API key").fill(READER)
        await page.keyboard.press("Enter")
        await expect(outcome(page)).to_contain_text("Completed")
        await page.get_by_role("button", name="Delete “one”").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("button", name="Delete").click()
        await expect(dialog.get_by_role("alert")).to_contain_text("You are not allowed to do this here.")
        await dialog.get_by_role("button", name="Cancel").click()
        await expect(page.get_by_role("button", name="Delete “one”")).to_be_focused()
        await expect(listed(page)).to_have_count(1)
        await expect(outcome(page)).to_contain_text("Completed")
        await tabs.close()
    tabs.expected |= {"401", "403"}


async def test_a_list_that_lacks_the_conversation_on_the_page_takes_it_from_nobody(
    tabs: "Tabs", settings: Settings
) -> None:
    """Threads/List: one that moves to the top between two pages of the list is on neither of them."""
    ours = echoing(settings)
    async with inside.worker(ours), inside.broker(ours) as client:
        page = await tabs.open(f"http://localhost:{client.base_url.port}/")
        await ask(page, "first")
        await expect(listed(page)).to_have_count(1)

        async def lack(route: Route) -> None:
            await route.fulfill(json={"data": [], "next_cursor": None})

        await page.route("**/v1/threads", lack, times=1)
        await ask(page, "second")
        await expect(outcome(page)).to_contain_text("Completed")
        await expect(listed(page)).to_have_count(1)
        await expect(page.locator(".turn")).to_have_count(2)
        await expect(page.get_by_role("alert")).to_be_hidden()

        await page.get_by_role("button", name="Delete “").click()
        (thread,) = (await client.get("/v1/threads")).json()["data"]
        await client.delete(f"/v1/threads/{thread['id']}")  # elsewhere, while the question is open
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await expect(listed(page)).to_have_count(0)
        await page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        await expect(page.get_by_role("alert")).to_contain_text("no longer there")
        assert page.url.endswith("/")
        await tabs.close()
    tabs.expected.add("404")


async def test_a_deletion_that_fails_late_closes_no_other_question(tabs: "Tabs", settings: Settings) -> None:
    """Threads/Delete."""
    ours = echoing(settings)
    async with inside.worker(ours), inside.broker(ours) as client:
        page = await tabs.open(f"http://localhost:{client.base_url.port}/")
        for text in ("first", "second"):
            await page.get_by_role("button", name="New chat").click()
            await ask(page, text)
        await expect(listed(page)).to_have_count(2)
        sent, answered = asyncio.Event(), asyncio.Event()

        async def refuse(route: Route) -> None:
            sent.set()
            await answered.wait()
            await route.fulfill(status=403, json={"detail": "not you"})

        await page.route(lambda url: "/v1/threads/" in url, refuse, times=1)
        await page.get_by_role("button", name="Delete “first”").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("button", name="Delete").click()
        await sent.wait()
        await page.keyboard.press("Escape")
        await page.get_by_role("button", name="Delete “second”").dblclick()  # the second click is beside the words
        answered.set()
        await expect(page.locator("#problem")).to_have_text("not you")
        await expect(dialog).to_contain_text("“second” will be deleted")
        await dialog.get_by_role("button", name="Delete").click()
        await expect(listed(page)).to_have_count(1)
        await tabs.close()
    tabs.expected.add("403")
