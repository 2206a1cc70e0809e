"""A real Chromium for tests, which fails a test whose pages report an error."""

import re
import shutil
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import BrowserContext, Page, Route, async_playwright, expect

CHROMIUM = shutil.which("chromium")
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

expect.set_options(timeout=WAIT_MS)


class Tabs:
    """Tabs of one browser profile: they share storage and broadcast channels.

    Attributes:
        context: Playwright's browser context.
        errors: What the pages wrote to their consoles as errors, or threw.
        expected: Parts of errors that the test brings about, such as Chromium's own lines for a cut connection. They
            may come at any time, even after the test's last step.
    """

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.errors: list[str] = []
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
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        await page.goto(url)
        return page


@pytest.fixture
async def tabs(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Tabs]:
    """A fresh browser of the test's own, so that none of its processes outlives the test."""
    if CHROMIUM is None:
        pytest.skip("there is no `chromium` on the PATH")
    # Playwright's own Node compiles its scripts once for all tests.
    monkeypatch.setenv("NODE_COMPILE_CACHE", str(tmp_path_factory.getbasetemp().parent / "node-compile-cache"))
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        context = await browser.new_context()
        context.set_default_timeout(WAIT_MS)
        tabs = Tabs(context)
        yield tabs
        await context.close()
        await browser.close()
    unexpected = [error for error in tabs.errors if not any(part in error for part in tabs.expected)]
    assert not unexpected, f"the pages reported errors: {unexpected}"
