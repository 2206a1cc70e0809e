"""A real Chromium for tests, which fails a test whose pages report an error."""

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright._impl._driver import compute_driver_executable
from playwright._impl.browser import Browser as BrowserChannel
from playwright._impl.connection import Connection
from playwright._impl.utils.tasks import wait_for_next_task
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Route, expect
from websockets.asyncio.client import connect

CHROMIUM = shutil.which("chromium")
WITHOUT_WINDOWS = shutil.which("chromium-headless-shell") or CHROMIUM
"""The same browser without the code of its windows, which takes a fifth of what the tests of pages cost."""

FEATURES_OFF = (
    # Each window would load pages of the browser's own, for half a second of CPU, for what people type as an address.
    "WebUIOmniboxPopup",
    "WebUIOmniboxAimPopup",
    # Those that Playwright switches off: the last such switch counts alone.
    "AimEnabled",
    "AvoidCorsURLLoaderRestartOnRedirect",
    "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose",
    "HttpsFirstBalancedModeAutoEnable",
    "HttpsUpgrades",
    "LensOverlay",
    "MediaRouter",
    "NetworkTimeServiceQuerying",
    "OptimizationHints",
    "PaintHolding",
    "PreconnectToSearch",
    "ThirdPartyStoragePartitioning",
)
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--disable-features={','.join(FEATURES_OFF)}",
)
WAIT_MS = 15_000
END_WITH_STDIN = "data:text/javascript,process.stdin.on('close', () => process.kill(process.pid)).resume()"
"""What Node runs first, so that no browser outlives a test process, not even one that is killed."""

expect.set_options(timeout=WAIT_MS)


class Tabs:
    """Tabs of one browser profile: they share storage and broadcast channels.

    Attributes:
        context: Playwright's browser context.
        errors: What the pages wrote to their consoles as errors, or threw.
        failed_urls: Where what they wrote to their consoles came from: the address that could not be had, for example.
        expected: Parts of errors that the test brings about, such as Chromium's own lines for a cut connection. They
            may come at any time, even after the test's last step.
    """

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.errors: list[str] = []
        self.failed_urls: list[str] = []
        self.expected: set[str] = set()

    async def hurry(self, **times_ms: int) -> None:
        """Give the constants of `/midstream.js` that name a time other values in all tabs opened later."""

        async def shorten(route: Route) -> None:
            answer = await route.fetch()
            script = await answer.text()
            for name, time_ms in times_ms.items():
                script, count = re.subn(rf"const {name} = [\d_]+;", f"const {name} = {time_ms};", script)
                assert count == 1, name
            await route.fulfill(response=answer, body=script)

        await self.context.route("**/midstream.js", shorten)

    async def open(self, url: str) -> Page:
        """Open a tab and return its page once it is loaded."""
        page = await self.context.new_page()
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        await page.goto(url)
        return page

    def _note(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)
            self.failed_urls.append(message.location["url"])

    async def close(self) -> None:
        """Close all tabs, before what they are connected to ends: a conversation is followed until its page is left."""
        for page in self.context.pages:
            await page.close()


@pytest.fixture(scope="session")
def browser_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Chromium that the tests of this process share, and of the one Playwright that drives it.

    Each test that started its own spent 0.7 s of CPU on it.
    """
    if WITHOUT_WINDOWS is None:
        pytest.skip("there is no `chromium` on the PATH")
    config = tmp_path_factory.mktemp("browser") / "config.json"
    config.write_text(json.dumps({"executablePath": WITHOUT_WINDOWS, "args": ARGUMENTS}))
    node, playwright = compute_driver_executable()
    words = (node, "--import", END_WITH_STDIN, playwright, "launch-server", "--browser", "chromium", "--config", config)
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin
        assert server.stdout
        url = server.stdout.readline().strip()
        assert url.startswith("ws://"), "the browser did not start"
        yield url
        server.stdin.close()


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Browser]:
    """Connect this event loop to the shared browser, whose contexts of ours end with the connection.

    Playwright's own `connect` would first start a Node of its own, to speak to that of the browser.
    """
    connection = Connection(asyncio.get_running_loop())
    connection.mark_as_remote()
    async with connect(url, max_size=None) as socket:
        outbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        connection.onmessage = outbox.put_nowait

        async def send() -> None:
            while True:
                await socket.send(json.dumps(await outbox.get()))

        async def receive() -> None:
            async for message in socket:
                connection.dispatch(json.loads(message))
                await wait_for_next_task()

        jobs = [asyncio.create_task(send()), asyncio.create_task(receive())]
        try:
            playwright = await connection.initialize_playwright()
            browser = BrowserChannel.from_(playwright._initializer["preLaunchedBrowser"])
            browser._connect_to_browser_type(playwright.chromium, {}, None)
            yield Browser(browser)
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)


@pytest.fixture
async def tabs(browser_url: str) -> AsyncIterator[Tabs]:
    """A fresh profile of the test's own in the shared browser."""
    async with connected(browser_url) as browser:
        # For a lamp that pulses, each tab draws 60 frames a second: two fifths of what the pages of eight tabs cost.
        context = await browser.new_context(reduced_motion="reduce")
        context.set_default_timeout(WAIT_MS)
        tabs = Tabs(context)
        yield tabs
        await context.close()
    unexpected = [error for error in tabs.errors if not any(part in error for part in tabs.expected)]
    assert not unexpected, f"the pages reported errors: {unexpected}, among those at {tabs.failed_urls}"
