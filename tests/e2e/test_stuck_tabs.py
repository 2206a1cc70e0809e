"""Tabs that share a connection, of which the one that reads for all is stuck (PROTOCOL: Read/Shared)."""

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from midstream.testing.provider.script import Script, directive
from tests.e2e.following import FOLLOW, begun, check, read
from tests.provider.client import ProviderServer
from tests.system import System

if TYPE_CHECKING:  # pytest itself imports the plugins
    from tests.e2e.browser import Tabs
    from tests.e2e.raw_browser import RawBrowser

pytest_plugins = ("tests.e2e.browser", "tests.e2e.raw_browser")
pytestmark = pytest.mark.browser

SCRIPT = Script(words=350, delay_ms=20, hold_at=20)
"""An answer that waits until the tabs that are to read it are open."""
TIMES_MS = {"LIFE_SIGN_MS": 1_000, "STUCK_MS": 3_300, "SPREAD_MS": 700}
"""A third of what a page waits for."""
STARVED_S = 10


@pytest.fixture
async def system(redis_url: str, tmp_path: Path, provider: ProviderServer) -> AsyncIterator[System]:
    # Chromium's processes take what the worker needs to renew a shorter lease.
    async with System(redis_url, tmp_path, provider.url, lease_ms=10_000) as running:
        yield await running.start()


@pytest.mark.slow_start(20)
@pytest.mark.parametrize("how", ["alert", "debugger"])
async def test_a_stuck_tab_that_leads_starves_no_other(
    tabs: "Tabs", system: System, provider: ProviderServer, how: str
) -> None:
    await tabs.hurry(**TIMES_MS)
    stream_id = await system.post(input=directive(SCRIPT), model="openai/gpt")
    stuck, *others = [await tabs.open(system.url) for _ in range(3)]
    for page in (stuck, *others):
        await page.evaluate(FOLLOW, [stream_id, {"share": True}])
        await begun(page, "w10 ")
    if how == "alert":
        async with stuck.expect_event("dialog") as opened:
            stuck.on("dialog", lambda _: None)  # Playwright itself dismisses what nobody listens for
            await stuck.evaluate("void setTimeout(() => alert('stuck'))")
        dialog = await opened.value
    else:
        debugger = await tabs.context.new_cdp_session(stuck)
        await debugger.send("Debugger.enable")
        await debugger.send("Debugger.pause")
    await provider.release()
    starved = [await page.evaluate("read.offsets.length") for page in others]
    for page, offset in zip(others, starved, strict=True):
        await begun(page, f"w{offset + 300} ", STARVED_S)
    assert (await system.http.get(f"/v1/streams/{stream_id}")).json()[
        "tails"
    ] <= 2  # the stuck one's and one for the rest
    if how == "alert":
        await dialog.dismiss()
    else:
        await debugger.send("Debugger.disable")
    for page in (stuck, *others):
        assert (await read(page))["text"] == SCRIPT.text()
    assert len(await provider.calls()) == 1


async def test_a_phone_that_slept_reads_on_where_it_was(
    raw_browser: "RawBrowser", system: System, provider: ProviderServer
) -> None:
    stream_id = await system.post(input=directive(SCRIPT), model="openai/gpt")
    phone, beside = [await raw_browser.open(system.url) for _ in range(2)]
    for tab in (phone, beside):
        await tab.evaluate(f"({FOLLOW})({json.dumps([stream_id, {'share': True}])})")
        await tab.until("read.text.includes('w10 ')")
    await phone.evaluate("void (window.ticks = 0, setInterval(() => ticks++, 10))")
    await phone.until("ticks > 5")
    await phone.send("Page.setWebLifecycleState", state="frozen")  # it reads for both
    await provider.release()
    stood = await phone.evaluate("ticks")
    began_s = time.monotonic()
    await beside.until("navigator.locks.query().then(({ held, pending }) => held.length === 1 && !pending.length)")
    assert time.monotonic() - began_s < 5  # it let go by itself, before it would be missed
    await beside.until("read.text.includes('w250 ')")  # it does not hold the other one up
    assert await phone.evaluate("ticks") == stood
    await phone.send("Page.setWebLifecycleState", state="active")
    await phone.send("Emulation.setFocusEmulationEnabled", enabled=True)  # as one who looks at it
    await phone.until("!document.hidden")
    for tab in (phone, beside):
        await tab.until("read.end")
        assert check(await tab.evaluate("read"))["text"] == SCRIPT.text()
    assert len(await provider.calls()) == 1
