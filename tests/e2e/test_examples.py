"""The examples, each as its reader starts it, on the running system."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import Page, expect

from midstream.testing.provider.script import Script, directive
from tests import system as processes
from tests.e2e.node_tests import installed
from tests.provider.client import ProviderServer
from tests.servers import free_port, http_server
from tests.system import ROOT, System

if TYPE_CHECKING:  # pytest itself imports the plugins
    from tests.e2e.browser import Tabs

pytest_plugins = ("tests.e2e.browser",)

WEB = ROOT / "examples" / "web"
SCRIPT = Script(words=125, delay_ms=40)


@pytest.fixture
async def system(redis_url: str, tmp_path: Path, provider: ProviderServer) -> AsyncIterator[System]:
    apps = '{"echo": "tests.contract.ui_sources:echo"}'
    async with System(redis_url, tmp_path, provider.url, apps=apps) as running:
        yield await running.start()


@pytest.fixture(scope="session")
def vite() -> list[str]:
    """The command that serves `examples/web`, its packages installed as the lock says."""
    # Not `npm ci`: it refuses a lock that names no registry for the packages of other platforms.
    node = installed(WEB, "install", "--no-save")
    return [node, "node_modules/vite/bin/vite.js"]


@pytest.fixture
async def web(vite: list[str], system: System, tmp_path: Path) -> AsyncIterator[str]:
    """URL of the example's pages."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    words = (*vite, "--host", "127.0.0.1", "--port", str(port), "--strictPort")
    environment = {"PATH": os.environ["PATH"], "MIDSTREAM_URL": system.url}
    async with http_server(url, words, tmp_path / "vite.log", cwd=WEB, env=environment):
        yield url


async def ask(page: Page, script: Script) -> None:
    await page.get_by_label("Your message").fill(directive(script))
    await page.get_by_label("Your message").press("Enter")


async def has(page: Page, word: str) -> None:
    await expect(page.locator("p.assistant")).to_contain_text(f"{word} ")


async def answered(page: Page, script: Script = SCRIPT) -> None:
    await expect(page.locator("output")).to_have_text("ready", timeout=30_000)
    await expect(page.locator("p.assistant")).to_have_count(1)
    await expect(page.get_by_role("alert")).to_have_count(0)
    assert await page.locator("p.assistant").text_content() == script.text()


def forget_lost_connections(tabs: "Tabs") -> None:
    """Take out what Chromium itself writes about requests that met no broker."""
    tabs.expected |= {"net::ERR_", "status of 50"}


@pytest.mark.browser
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_the_use_chat_page_survives_reload_tabs_and_a_restarted_broker(
    web: str, tabs: "Tabs", system: System, provider: ProviderServer, how: signal.Signals
) -> None:
    first = await tabs.open(f"{web}/?model=openai/gpt")
    await ask(first, SCRIPT)
    await has(first, "w10")
    await first.reload()
    await has(first, "w20")
    others = [await tabs.open(first.url) for _ in range(2)]
    await has(others[1], "w30")
    await processes.stop(system.brokers[0], how)
    await system.start_broker()
    for page in (first, *others):
        await answered(page)
    assert len(await provider.calls()) == 1
    forget_lost_connections(tabs)


@pytest.mark.browser
@pytest.mark.slow_start(15)
async def test_the_use_chat_page_survives_a_killed_worker_and_five_seconds_offline(
    web: str, tabs: "Tabs", system: System, provider: ProviderServer
) -> None:
    script = Script(words=300, delay_ms=40)
    pages = [await tabs.open(f"{web}/?model=openai/gpt")]
    await ask(pages[0], script)
    await has(pages[0], "w10")
    system.workers[0].kill()
    await system.start_worker()
    pages += [await tabs.open(pages[0].url) for _ in range(2)]
    await has(pages[2], "w40")
    # Chromium's own switch lets open connections live; a broker that is gone takes them too.
    await tabs.context.set_offline(True)
    system.brokers[0].kill()
    await system.brokers[0].wait()
    await system.start_broker()
    await asyncio.sleep(5)
    assert "w299 " not in (await pages[0].locator("p.assistant").text_content() or "")
    await tabs.context.set_offline(False)
    for page in pages:
        await answered(page, script)
    assert len(await provider.calls()) == 1
    forget_lost_connections(tabs)


@pytest.mark.browser
async def test_eight_tabs_of_the_use_chat_page_follow_and_one_can_still_stop(
    web: str, tabs: "Tabs", system: System
) -> None:
    pages = [await tabs.open(f"{web}/?model=openai/gpt")]
    await ask(pages[0], Script(words=3_000, delay_ms=40))
    await has(pages[0], "w10")
    pages += [await tabs.open(pages[0].url) for _ in range(7)]  # HTTP/1.1 has six connections for all of them
    for page in pages:
        await has(page, "w30")
    (stream,) = (await system.http.get("/v1/streams")).json()["data"]
    assert (await system.http.get(f"/v1/streams/{stream['id']}")).json()["tails"] == 1
    await pages.pop(0).close()  # it reads for all
    before = len(await pages[0].locator("p.assistant").text_content() or "")
    for page in pages:
        await page.wait_for_function(
            "(before) => document.querySelector('p.assistant').textContent.length > before + 100",
            arg=before,
            polling=50,
        )
    await pages[-1].get_by_role("button", name="Stop").click()
    for page in pages:
        await expect(page.locator("output")).to_have_text("ready")
        await expect(page.get_by_role("alert")).to_have_count(0)
    assert len({await page.locator("p.assistant").text_content() for page in pages}) == 1


@pytest.mark.browser
async def test_the_use_chat_page_stops_everywhere(web: str, tabs: "Tabs") -> None:
    first = await tabs.open(f"{web}/?model=openai/gpt")
    await first.get_by_label("Your message").fill(directive(Script(words=3_000, delay_ms=20)))
    await first.get_by_label("Your message").press("Enter")
    await expect(first.locator("p.assistant")).to_contain_text("w10 ")
    second = await tabs.open(first.url)
    await expect(second.locator("p.assistant")).to_contain_text("w10 ")
    await second.get_by_role("button", name="Stop").click()
    for page in (first, second):
        await expect(page.locator("output")).to_have_text("ready")
        await expect(page.get_by_role("alert")).to_have_count(0)


@pytest.mark.browser
async def test_the_use_chat_page_shows_markup_as_text_and_begins_one_answer_at_a_time(
    web: str, tabs: "Tabs", system: System
) -> None:
    markup = "<img src=x onerror=alert(1)>" + "x" * 400
    page = await tabs.open(f"{web}/?model=app/echo")
    await page.set_viewport_size({"width": 320, "height": 600})
    await page.get_by_label("Your message").fill(markup)
    for _ in range(2):
        await page.get_by_label("Your message").press("Enter")
    await expect(page.locator("output")).to_have_text("ready")
    await expect(page.locator("p.assistant")).to_contain_text(markup)
    assert await page.locator("main img").count() == 0
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert len((await system.http.get("/v1/streams")).json()["data"]) == 1


@pytest.mark.browser
async def test_the_event_source_page_reads_it_all_again_after_a_reload(web: str, tabs: "Tabs") -> None:
    page = await tabs.open(f"{web}/eventsource.html?model=demo/count")
    await expect(page.locator("#answer")).to_contain_text(" 5 ")
    for _ in range(2):
        await expect(page).to_have_title("completed")
        assert (await page.locator("#answer").text_content() or "").endswith(" 99 100 ")
        await page.reload()


async def test_the_socket_client_survives_a_restarted_broker(system: System, provider: ProviderServer) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no `node` on the PATH")
    process = await asyncio.create_subprocess_exec(
        node, "--experimental-websocket", ROOT / "examples" / "websocket" / "ask.mjs",
        f"{system.url.replace('http', 'ws')}/v1/ws", directive(SCRIPT), "openai/gpt",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    beginning = (await process.stdout.readuntil(b"w20 ")).decode()
    system.brokers[0].kill()
    await system.brokers[0].wait()
    await system.start_broker()
    rest, errors = await process.communicate()
    assert beginning + rest.decode() == f"{SCRIPT.text()}\n[completed]\n", errors.decode()
    assert len(await provider.calls()) == 1


async def test_the_socket_client_gives_a_key(redis_url: str, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no `node` on the PATH")
    key = "a" * 20 + "1b2c3d4e5f6g7h8i9j0k"
    async with System(redis_url, tmp_path, api_keys=f"{key}:alice", demo_delay_ms=1) as system:
        await system.start()
        process = await asyncio.create_subprocess_exec(
            node, "--experimental-websocket", ROOT / "examples" / "websocket" / "ask.mjs",
            f"{system.url.replace('http', 'ws')}/v1/ws", "x", "demo/count",
            env={**os.environ, "MIDSTREAM_API_KEY": key},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, errors = await process.communicate()
    assert output.endswith(b"\n[completed]\n"), errors
