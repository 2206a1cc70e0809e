"""The operators' console at `/console`, in a real browser (Operate/Console)."""

import itertools
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest
from playwright.async_api import expect

from midstream.settings import Settings
from tests.e2e.console_page import OPERATOR, TENANT, ended, operated, signed_in, started, url_of

if TYPE_CHECKING:  # pytest itself imports the plugins
    from tests.e2e.browser import Tabs

pytest_plugins = ("tests.e2e.browser",)
pytestmark = pytest.mark.browser


@pytest.fixture
async def broker(settings: Settings, tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    async with operated(settings, tmp_path) as client:
        yield client


async def test_an_operator_finds_streams_by_keys_and_by_address(tabs: "Tabs", broker: httpx2.AsyncClient) -> None:
    tabs.expected |= {"401", "403"}
    first, second = await started(broker, 3, 1, user="ada"), await started(broker, 3, 1, user="bob")
    await ended(broker, first)
    await ended(broker, second)

    page = await tabs.open(url_of(broker, "/streams"))
    key = page.get_by_placeholder("Operator's key")
    await key.fill(TENANT)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_have_text("This key is not an operator's: it lacks the scope `operate`.")
    await expect(page.get_by_role("table")).to_have_count(0)
    await key.fill(OPERATOR)
    await key.press("Enter")
    links = page.locator("tbody a")
    await expect(links).to_have_text([second, first])

    await page.keyboard.press("/")
    await page.keyboard.type("ada")
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(url_of(broker, "/streams?q=ada"))
    await expect(links).to_have_text([first])
    await page.go_back()
    await expect(links).to_have_text([second, first])

    tabs.expected.add("400")
    await page.goto(url_of(broker, "/streams?silent_s=long"))
    await expect(page.get_by_role("alert")).to_contain_text("silent_s: It is no number of seconds")
    await page.get_by_role("link", name="All", exact=True).click()
    await expect(page.get_by_role("alert")).to_be_hidden()

    running = await started(broker, 5_000, 20)
    await expect(links).to_have_text([running, second, first])  # by itself
    for step in ("j", "j", "k"):
        await page.keyboard.press(step)
    await expect(links.first).to_be_focused()
    await page.keyboard.press("x")
    question = page.get_by_role("dialog", name=f"Cancel acme/{running}?")
    await question.get_by_role("button", name="Cancel the stream").click()
    await ended(broker, running)
    await expect(page.locator("tbody tr").first).to_contain_text("cancelled")
    await links.first.focus()
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(url_of(broker, f"/streams/acme/{running}"))
    await expect(page.locator(".why")).to_contain_text("cancelled")
    await page.close()


async def test_a_stream_is_watched_paused_and_read_without_harm(tabs: "Tabs", broker: httpx2.AsyncClient) -> None:
    hostile = "<img src=x onerror='document.title=1'>"
    stream_id = await started(broker, 5_000, 10, metadata={"html": hostile})
    page = await signed_in(tabs, broker, f"/streams/acme/{stream_id}")
    await expect(page.locator(".facts")).to_contain_text(f"html {hostile}")
    assert await page.locator("main img").count() == 0

    table = page.get_by_role("table", name="Entries")
    newest = table.locator(".layer .entry:not([hidden])").last.get_by_role("cell").first
    await expect(newest).to_have_text(re.compile(r"^[2-9]\d\d$"))  # it follows
    requests = await page.evaluate("performance.getEntriesByType('resource').map((it) => [it.startTime, it.name])")
    entries = [name for _, name in sorted(requests) if "/entries?" in name]
    # Before the first rows are drawn it is not certain what is on view.
    following = [*itertools.dropwhile(lambda name: name.endswith("limit=1"), entries)]
    assert len(following) > 1
    assert not [name for name in following if name.endswith("limit=1")], "one request brings the end and what is new"
    await page.get_by_role("button", name="Pause").click()
    top = await page.locator(".view").evaluate("(it) => it.scrollTop")
    rows = int(await table.get_attribute("aria-rowcount") or 0)
    await expect(table).not_to_have_attribute("aria-rowcount", str(rows))  # the log goes on, and the view stays
    assert await page.locator(".view").evaluate("(it) => it.scrollTop") == top
    assert await table.get_by_role("row").count() < 60

    async with page.expect_response(lambda answer: "/entries?" in answer.url) as answers:
        await page.get_by_label("Offset", exact=True).fill("7")
        await page.keyboard.press("Enter")
    assert "content" not in (await answers.value).url
    await expect(page).to_have_url(url_of(broker, f"/streams/acme/{stream_id}?offset=7"))
    await expect(table.locator(".selected").get_by_role("cell").first).to_have_text("7")
    assert await page.locator("pre:visible").count() == 0
    await page.get_by_role("button", name="Show its content").click()
    seventh = (await broker.get(f"/v1/streams/{stream_id}/entries", params={"after": 6, "limit": 1})).json()["data"][0]
    # A worker that is late merges words, in this entry and in those before it.
    assert int(seventh["data"]["text"].split()[0]) >= 5
    await expect(page.locator("pre:visible")).to_have_text(seventh["data"]["text"])
    await page.get_by_text("The answer so far").click()
    await expect(page.locator(".panel[open] pre")).to_contain_text("1 2 3 4 5 ")

    await page.get_by_text("As a client sees it").click()
    await page.get_by_label("Dialect").select_option("messages")
    await expect(page.locator("details[open] pre").last).to_contain_text("event: message_start")

    await page.get_by_role("button", name="Seal", exact=True).click()
    question = page.get_by_role("dialog", name=f"Seal acme/{stream_id}?")
    await question.get_by_label("Reason").fill(hostile)
    await page.keyboard.press("Enter")
    await expect(page.locator(".facts")).to_contain_text(f"sealed_by_operator: {hostile}")
    assert await page.title() == f"{stream_id} · midstream console"

    await page.set_viewport_size({"width": 390, "height": 800})
    for path in ("", "/streams", "/processes", "/audit", f"/streams/acme/{stream_id}"):
        await page.goto(url_of(broker, path))
        await expect(page.get_by_role("heading", level=1).last).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
    await page.close()
