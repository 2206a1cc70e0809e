"""A prompt on its way to the broker: whatever is clicked meanwhile, it is one submission and paid once."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import Route, expect

from midstream.settings import Settings
from midstream.testing.provider.script import Script, directive
from tests import inside
from tests.e2e.chat_page import echoing, outcome, text_of
from tests.provider.client import ProviderServer
from tests.system import System

if TYPE_CHECKING:  # pytest itself imports the plugins
    from tests.e2e.browser import Tabs

pytest_plugins = ("tests.e2e.browser",)
pytestmark = pytest.mark.browser


@pytest.fixture
async def system(redis_url: str, tmp_path: Path, provider: ProviderServer, tabs: "Tabs") -> AsyncIterator[System]:
    async with System(redis_url, tmp_path, provider.url) as running:
        yield await running.start()
        await tabs.close()


async def test_a_double_click_is_one_submission_and_paid_once(
    tabs: "Tabs", system: System, provider: ProviderServer
) -> None:
    page = await tabs.open(system.url)
    example = page.get_by_role("button", name="Explain Redis Streams")
    await expect(example).to_be_visible()
    system.brokers[0].send_signal(signal.SIGSTOP)
    await example.dblclick()
    await page.get_by_label("Your message").press("Enter")
    system.brokers[0].send_signal(signal.SIGCONT)
    await expect(outcome(page)).to_contain_text("Completed")
    await expect(page.get_by_label("Your message")).to_have_value("")
    assert len((await system.http.get("/v1/streams")).json()["data"]) == 1
    assert len(await provider.calls()) == 1


async def test_a_submission_that_is_left_on_its_way_is_stopped(tabs: "Tabs", system: System) -> None:
    page = await tabs.open(system.url)
    await expect(page.locator("#welcome")).to_be_visible()
    await page.get_by_label("Your message").fill(directive(Script(words=2_000, delay_ms=15)))
    system.brokers[0].send_signal(signal.SIGSTOP)
    await page.get_by_label("Your message").press("Enter")
    await page.get_by_role("button", name="New chat").click()
    system.brokers[0].send_signal(signal.SIGCONT)
    async with asyncio.timeout(10):
        while not (streams := (await system.http.get("/v1/streams")).json()["data"]):
            await asyncio.sleep(0.02)
    assert (await system.ended(streams[0]["id"], 10))["outcome"] == "cancelled"
    assert page.url == f"{system.url}/"
    await expect(page.get_by_label("Your message")).to_have_value("")


async def test_a_submission_goes_on_after_a_reload(tabs: "Tabs", system: System, provider: ProviderServer) -> None:
    script = Script(words=20)
    page = await tabs.open(system.url)
    await expect(page.locator("#welcome")).to_be_visible()
    await page.get_by_label("Your message").fill(directive(script))
    system.brokers[0].send_signal(signal.SIGSTOP)
    await page.get_by_label("Your message").press("Enter")
    reloading = asyncio.create_task(page.reload())
    system.brokers[0].send_signal(signal.SIGCONT)
    await reloading
    await expect(outcome(page)).to_contain_text("Completed")
    assert await text_of(page) == script.text()
    assert len((await system.http.get("/v1/streams")).json()["data"]) == 1
    assert len(await provider.calls()) == 1


async def test_a_message_whose_answers_were_all_lost_is_sent_as_the_same(tabs: "Tabs", settings: Settings) -> None:
    async def lose(route: Route) -> None:
        await route.fetch()
        await route.abort()

    ours = echoing(settings)
    async with inside.worker(ours), inside.broker(ours) as client:
        page = await tabs.open(f"http://localhost:{client.base_url.port}/")
        await page.route("**/v1/streams", lose)
        await page.get_by_label("Your message").fill("one")
        await page.get_by_label("Your message").press("Enter")
        await expect(page.get_by_role("alert")).to_have_text("The broker cannot be reached.")
        await page.unroute("**/v1/streams", lose)
        await page.get_by_label("Your message").press("Enter")
        await expect(outcome(page)).to_contain_text("Completed")
        assert len((await client.get("/v1/streams")).json()["data"]) == 1
        await tabs.close()
    tabs.expected.add("net::ERR_FAILED")
