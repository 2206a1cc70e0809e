"""What the page shows of what goes wrong: in words for its reader, who may never have seen an API."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import Route, expect

from midstream.testing.provider.script import Script, directive
from tests.e2e.chat_page import answer, ask, outcome, text_of
from tests.provider.client import ProviderServer
from tests.system import System

if TYPE_CHECKING:  # pytest itself imports the plugins
    from tests.e2e.browser import Tabs

pytest_plugins = ("tests.e2e.browser",)
pytestmark = pytest.mark.browser

API_KEY = "key-of-the-test-which-is-long-enough"


@pytest.fixture
async def system(redis_url: str, tmp_path: Path, provider: ProviderServer, tabs: "Tabs") -> AsyncIterator[System]:
    # Chromium's processes take what the worker needs to renew a shorter lease.
    async with System(redis_url, tmp_path, provider.url, lease_ms=3_000) as running:
        yield await running.start()
        await tabs.close()


async def test_a_refusal_reads_as_text_and_a_cut_has_no_tick(tabs: "Tabs", system: System) -> None:
    page = await tabs.open(system.url)
    await ask(page, directive(Script(refuse=True)))
    await expect(outcome(page)).to_be_visible()
    await expect(answer(page).locator(".refusal")).to_have_text(Script(refuse=True).refusal())
    await expect(answer(page).locator("figure")).to_have_count(0)
    await ask(page, directive(Script(words=5, finish="length")))
    await expect(outcome(page)).to_contain_text("length limit")
    await expect(outcome(page)).not_to_contain_text("Completed")
    assert "✓" not in await outcome(page).evaluate("(it) => getComputedStyle(it, '::before').content")
    await ask(page, "שלום, מה שלומך?")
    await expect(outcome(page)).to_contain_text("Completed")
    bubble = page.get_by_role("article", name="You").last.locator(".bubble")
    assert await bubble.evaluate("(it) => getComputedStyle(it).direction") == "rtl"


async def test_a_note_splits_no_sentence(tabs: "Tabs", system: System) -> None:
    script = Script(words=150, delay_ms=40)
    page = await tabs.open(system.url)
    await ask(page, directive(script))
    await expect(answer(page)).to_contain_text("w10 ")
    system.workers[0].kill()
    await system.start_worker()
    await expect(answer(page).locator(".note").first).to_be_visible()
    await expect(outcome(page)).to_contain_text("Completed")
    assert await text_of(page) == script.text()  # of one element: two are an error


async def test_stop_leaves_the_focus_where_one_goes_on(tabs: "Tabs", system: System) -> None:
    page = await tabs.open(system.url)
    await ask(page, directive(Script(words=2_000, delay_ms=15)))
    await expect(answer(page)).to_contain_text("w5 ")
    await page.get_by_role("button", name="Stop").focus()
    await page.keyboard.press("Enter")
    await expect(outcome(page)).to_contain_text("Stopped")
    await expect(page.get_by_label("Your message")).to_be_focused()


async def test_what_is_typed_stays_until_the_broker_has_taken_it(tabs: "Tabs", system: System) -> None:
    page = await tabs.open(system.url)
    await expect(page.locator("#welcome")).to_be_visible()
    system.brokers[0].kill()
    await system.brokers[0].wait()
    await page.get_by_label("Your message").fill("Are you there?")
    await page.get_by_label("Your message").press("Enter")
    for words in ("The broker cannot be reached. Trying again.", "The broker cannot be reached."):
        await expect(page.get_by_role("alert")).to_have_text(words)
        await expect(page.get_by_label("Your message")).to_have_value("Are you there?")
    await system.start_broker()
    await page.get_by_label("Your message").press("Enter")
    await expect(outcome(page)).to_contain_text("Completed")
    await expect(page.get_by_role("alert")).to_be_hidden()
    assert len((await system.http.get("/v1/streams")).json()["data"]) == 1
    tabs.expected.add("net::ERR_")


async def test_models_that_cannot_be_read_at_first_are_asked_for_again(tabs: "Tabs", system: System) -> None:
    fails = iter(range(5))  # one more than a single question is tried

    async def fail_at_first(route: Route) -> None:
        await (route.continue_() if next(fails, None) is None else route.abort())

    await tabs.context.route("**/v1/models", fail_at_first)
    page = await tabs.open(system.url)
    await expect(page.get_by_role("alert")).to_have_text("The broker cannot be reached. Trying again.")
    await ask(page, "Are you there?")
    await expect(outcome(page)).to_contain_text("Completed")
    await expect(page.get_by_role("alert")).to_be_hidden()
    tabs.expected.add("net::ERR_")


async def test_a_stream_that_has_expired_says_so_and_when(tabs: "Tabs", system: System) -> None:
    stream_id = await system.post(input=directive(Script(words=3)), model="openai/gpt", ttl_s=5)
    page = await tabs.open(f"{system.url}/?stream={stream_id}")
    await expect(outcome(page)).to_contain_text("Completed")
    async with asyncio.timeout(15):
        while not await page.evaluate("history.state?.until_ms > Date.now() - 10_000"):
            await asyncio.sleep(0.05)
        while (await system.http.get(f"/v1/streams/{stream_id}")).status_code != 404:
            await asyncio.sleep(0.1)
    await page.reload()
    until = await page.evaluate("new Date(history.state.until_ms).toLocaleString()")
    await expect(page.get_by_role("alert")).to_have_text(f"This stream has expired: it was kept until {until}.")
    other = await tabs.open(page.url)
    await expect(other.get_by_role("alert")).to_contain_text("It may have expired")
    tabs.expected.add("404")


async def test_a_wrong_key_is_told_in_words_and_a_joining_tab_needs_none(
    tabs: "Tabs", redis_url: str, tmp_path: Path
) -> None:
    async with System(redis_url, tmp_path, api_keys=f"{API_KEY}:me", demo_delay_ms=1) as system:
        await system.start()
        page = await tabs.open(system.url)
        await expect(page.get_by_label("API key")).to_be_focused()
        await expect(page.get_by_role("alert")).to_be_hidden()
        await page.keyboard.type("wrong")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_have_text("This broker does not know that key.")
        await page.keyboard.type(API_KEY)
        await page.keyboard.press("Enter")
        await expect(page.get_by_label("API key")).to_be_hidden()
        await ask(page, "Tell me a story.")
        await expect(outcome(page)).to_contain_text("Completed")
        async with page.expect_popup() as opened:
            await page.get_by_role("link", name="Join in a new tab").click()
        joined = await opened.value
        await expect(outcome(joined)).to_contain_text("Completed")
        await expect(joined.get_by_label("API key")).to_be_hidden()
        await tabs.close()
    tabs.expected.add("401")


KEPT = (
    "JSON.stringify([document.cookie, {...localStorage}, {...sessionStorage}, location.href, document.body.innerHTML])"
)


async def test_the_page_signs_in_by_a_cookie_and_forgets_the_key(tabs: "Tabs", redis_url: str, tmp_path: Path) -> None:
    """Access/Cookie."""
    async with System(redis_url, tmp_path, api_keys=f"{API_KEY}:me", demo_delay_ms=20) as system:
        await system.start()
        # The session's cookie needs the browser's own word about the page, as it is on localhost.
        page = await tabs.open(system.url.replace("127.0.0.1", "localhost"))
        await page.get_by_label("API key").fill(API_KEY)
        async with page.expect_request("**/v1/models") as listing:
            await page.get_by_role("button", name="Sign in").click()
        assert "authorization" not in await (await listing.value).all_headers()
        await expect(page.get_by_role("button", name="Sign out")).to_be_visible()
        await ask(page, "Tell me a story.")
        await expect(answer(page).locator(".text")).not_to_be_empty()
        await page.reload()
        await expect(outcome(page)).to_contain_text("Completed")
        assert API_KEY not in await page.evaluate(KEPT)
        assert await page.get_by_label("API key").input_value() == ""
        (cookie,) = await tabs.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")

        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_label("API key")).to_be_focused()
        await expect(page.get_by_role("button", name="Sign out")).to_be_hidden()
        assert await tabs.context.cookies() == []
        await tabs.close()
    tabs.expected.add("401")


async def test_a_page_whose_session_is_over_asks_for_the_key_again(
    tabs: "Tabs", redis_url: str, tmp_path: Path
) -> None:
    """Access/Cookie, Access/Ending."""
    async with System(redis_url, tmp_path, api_keys=f"{API_KEY}:me", demo_delay_ms=20) as system:
        await system.start()
        page = await tabs.open(system.url)
        await page.get_by_label("API key").fill(API_KEY)
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("button", name="Sign out")).to_be_visible()
        await ask(page, "Tell me a story.")
        await expect(outcome(page)).to_contain_text("Completed")
        await tabs.context.clear_cookies()
        await page.get_by_label("Your message").fill("Another one.")
        await page.get_by_label("Your message").press("Enter")
        await expect(page.get_by_role("alert")).to_have_text("This page's session is over.")
        await page.get_by_label("API key").fill(API_KEY)
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("alert")).to_be_hidden()
        await expect(outcome(page)).to_contain_text("Completed")
        await tabs.close()
    tabs.expected.add("401")
