"""Pages on one conversation that are killed and reloaded at random (Show 1 of threads); `scripts/page soak` runs it."""

import asyncio
import random
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx2
from playwright.async_api import Browser, Page, async_playwright

from midstream.testing.provider.script import Script, directive
from tests.e2e.browser import ARGUMENTS, CHROMIUM
from tests.provider.client import ProviderServer, provider_process
from tests.servers import ValkeyProcess
from tests.system import System

DEVICES: Final = {"desktop": (1280, 800), "laptop": (1100, 700), "phone": (390, 844)}
SHARE_OF_STARTS: Final = 0.25
"""So often an act is a start, by a page or by a script, and else a kill or a reload."""
SETTLE_S: Final = 60.0
TEXTS: Final = "(all) => all.map((it) => it.source ? it.source() : it.textContent)"


class Soak:
    """One conversation, the pages that show it, and the number of turns that anybody has started."""

    def __init__(self, system: System, browser: Browser, seed: int) -> None:
        self.system = system
        self.browser = browser
        self.random = random.Random(seed)  # noqa: S311
        self.thread = ""
        self.turns = 0
        self.pages: dict[str, Page] = {}

    async def open(self, device: str) -> None:
        """Open the conversation on a device that has nothing of it."""
        width, height = DEVICES[device]
        context = await self.browser.new_context(viewport={"width": width, "height": height})
        page = self.pages[device] = await context.new_page()
        page.set_default_timeout(SETTLE_S * 1_000)
        await page.goto(f"{self.system.url}/?thread={self.thread}")

    def prompt(self) -> str:
        """Return a prompt of its own, with an answer that takes up to some seconds."""
        self.turns += 1
        words, delay_ms = self.random.randrange(5, 120), self.random.randrange(0, 30)
        return directive(Script(words=words, delay_ms=delay_ms, tag=str(self.turns)))

    async def by_script(self) -> None:
        """Start a turn as a script does."""
        await self.system.post(
            model="openai/gpt-5.4-mini", input=self.prompt(), thread=self.thread, continue_thread=True
        )

    async def by_page(self, device: str) -> None:
        """Send a message from a page, where it lets its reader send one."""
        page = self.pages[device]
        field = page.get_by_label("Your message")
        if await page.evaluate("document.body.dataset.state") != "idle":
            return
        prompt = self.prompt()
        await field.fill(prompt)
        await field.press("Enter")

    async def kill(self, device: str) -> None:
        """Kill a page's process in the middle of whatever it does, and open the conversation anew."""
        page = self.pages.pop(device)
        session = await page.context.new_cdp_session(page)
        killing = asyncio.create_task(session.send("Page.crash"))
        await asyncio.wait((killing,), timeout=2)
        await page.context.close()
        await asyncio.gather(killing, return_exceptions=True)
        await self.open(device)

    async def act(self) -> bool:
        """Do something at random; return whether it was a kill or a reload."""
        device = self.random.choice(list(DEVICES))
        if self.random.random() < SHARE_OF_STARTS:
            await (self.by_script() if self.random.random() < 1 / 2 else self.by_page(device))
            return False
        if self.random.random() < 0.5:
            await self.kill(device)
        else:
            await self.pages[device].reload()
        return True

    async def seen(self) -> list[list[str]]:
        """Return what each page shows, with all that came before what it shows at first."""
        for page in self.pages.values():
            while await page.locator("#earlier").is_visible():
                await page.locator("#earlier").click()
                await asyncio.sleep(1)
        return [await page.locator(".turn article").evaluate_all(TEXTS) for page in self.pages.values()]

    async def logged(self) -> list[str]:
        """Return the conversation as the logs have it, when nothing in it runs any more."""
        while True:
            page = (await self.system.http.get(f"/v1/threads/{self.thread}", params={"limit": 100})).json()
            if all(row["status"] == "ended" for row in page["streams"]):
                return [message["content"] for message in page["data"]]
            await asyncio.sleep(0.2)


@asynccontextmanager
async def _running() -> AsyncIterator[tuple[System, ProviderServer, Browser]]:
    with (
        tempfile.TemporaryDirectory() as folder,
        ValkeyProcess(Path(folder)) as redis,
        provider_process("provider") as url,
    ):
        async with (
            httpx2.AsyncClient(base_url=url) as client,
            System(redis.url, Path(folder), url) as system,
            async_playwright() as playwright,
        ):
            await system.start()
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS])
            yield system, ProviderServer(url, client), browser
            await browser.close()


async def run(kills: int) -> tuple[bool, str]:
    """Kill and reload so often; return whether each page shows the same in the end, and what is to be said of it."""
    async with _running() as (system, provider, browser):
        soak = Soak(system, browser, seed=kills)
        soak.thread = "soak"
        await soak.by_script()
        for device in DEVICES:
            await soak.open(device)
        done = 0
        while done < kills:
            done += await soak.act()
            await asyncio.sleep(soak.random.random() * 0.3)
        expected = await asyncio.wait_for(soak.logged(), SETTLE_S)
        for _ in range(int(SETTLE_S)):
            seen = await soak.seen()
            if all(each == expected for each in seen):
                break
            await asyncio.sleep(1)
        same = sum(each == expected for each in seen)
        paid = len(await provider.calls())
        turns = len(expected) // 2
        report = (
            f"{kills} kills and reloads of {len(DEVICES)} pages: {same} of {len(seen)} show the conversation of the "
            f"logs; the provider was paid {paid} times for {turns} turns ({soak.turns} were sent)"
        )
        return same == len(seen) and paid == turns, report
