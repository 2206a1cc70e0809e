"""Conversations on the page: their list, other devices and scripts, and what can be done about a turn."""

from typing import TYPE_CHECKING, Any

import httpx2
from playwright.async_api import Page, expect

from midstream.settings import Settings
from tests import inside
from tests.e2e.chat_page import SLOW, answer, ask, echoing, outcome, text_of

if TYPE_CHECKING:  # pytest itself imports the plugins
    from tests.e2e.browser import Tabs

pytest_plugins = ("tests.e2e.browser",)


def turns(page: Page, kind: str = "Answer") -> Any:
    return page.get_by_role("article", name=kind)


async def texts(page: Page) -> list[str]:
    """What the page shows of the conversation: prompts and answers as they were written."""
    shows = "(all) => all.map((it) => it.source ? it.source() : it.textContent)"
    lines: list[str] = await page.locator(".turn article").evaluate_all(shows)
    return lines


async def test_a_conversation_is_the_same_on_every_device_whatever_started_its_turns(
    tabs: "Tabs", settings: Settings
) -> None:
    ours = echoing(settings)
    async with inside.worker(ours), inside.broker(ours) as client:
        base = f"http://localhost:{client.base_url.port}/"
        first = await tabs.open(base)
        await ask(first, "one")
        await expect(outcome(first)).to_contain_text("Completed")
        other = await tabs.open(first.url)
        await expect(turns(other)).to_contain_text(["1: one"])
        await ask(other, "two")
        await expect(turns(first, "You")).to_have_text(["one", "two"])
        thread = first.url.partition("=")[2]
        for page in (first, other):
            await page.set_viewport_size({"width": 1000, "height": 400})
        await _by_script(client, thread, "three")
        for page in (first, other):
            await expect(turns(page)).to_contain_text(["1: one", "3: two", "5: three"])
            await expect(turns(page).last).to_be_in_viewport()  # the reader at the end is kept there
        await first.reload()
        await expect(turns(first)).to_contain_text(["1: one", "3: two", "5: three"])
        assert await texts(first) == await texts(other) == ["one", "1: one", "two", "3: two", "three", "5: three"]

        listed = first.get_by_role("navigation", name="Conversations").get_by_role("link")
        await expect(listed).to_have_count(1)
        await expect(listed).to_contain_text("three")
        await first.get_by_role("button", name="New chat").click()
        await ask(first, "another")
        await expect(listed).to_contain_text(["another", "three"])
        await expect(listed.first).to_have_attribute("aria-current", "page")
        await listed.last.click()
        await expect(turns(first, "You")).to_have_text(["one", "two", "three"])
        await first.go_back()
        await expect(turns(first, "You")).to_have_text(["another"])
        await tabs.close()


async def _by_script(client: httpx2.AsyncClient, thread: str, text: str) -> None:
    body = {"model": "app/echo", "input": text, "thread": thread, "continue_thread": True}
    assert (await client.post("/v1/streams", json=body)).status_code == 201


async def test_an_answer_is_copied_made_again_and_asked_for_with_other_words(tabs: "Tabs", settings: Settings) -> None:
    ours = echoing(settings)
    async with inside.worker(ours), inside.broker(ours) as client:
        await tabs.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = await tabs.open(f"http://localhost:{client.base_url.port}/")
        for text in ("one", "two `code`", "three"):
            await ask(page, text)
            await expect(outcome(page)).to_contain_text("Completed")
        other = await tabs.open(page.url)
        await expect(turns(other)).to_have_count(3)

        await page.bring_to_front()
        await page.get_by_role("button", name="Copy answer").nth(1).click()
        assert await page.evaluate("navigator.clipboard.readText()") == "3: two `code`"
        streams = page.locator(".turn")
        before = await streams.last.get_attribute("data-stream")
        await page.get_by_role("button", name="Regenerate").click()
        await expect(streams.last).not_to_have_attribute("data-stream", before or "")
        await expect(outcome(page)).to_contain_text("Completed")
        assert await text_of(page) == "5: three"  # it was sent the same again
        await expect(streams).to_have_count(3)

        await turns(page, "You").nth(1).hover()
        await page.get_by_role("button", name="Edit message").nth(1).click()
        await page.get_by_label("New words").fill(f"2 {SLOW}")
        await page.get_by_role("button", name="Ask again").click()
        for each in (page, other):
            await expect(turns(each, "You")).to_have_text(["one", f"2 {SLOW}"])
            await expect(answer(each)).to_contain_text(f"3: 2 {SLOW} on")
        await page.get_by_role("button", name="Stop").click()
        await expect(outcome(other)).to_contain_text("Stopped")
        await expect(page.get_by_role("button", name="Try again")).to_be_visible()
        (thread,) = (await client.get("/v1/threads")).json()["data"]
        assert thread["streams"] == 2, "what was replaced is deleted"
        await page.reload()
        await expect(turns(page, "You")).to_have_text(["one", f"2 {SLOW}"])
        await tabs.close()
