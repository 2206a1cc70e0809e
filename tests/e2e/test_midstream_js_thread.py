"""`thread` of `/midstream.js` in a real browser: cuts, reloads, tabs that share a connection, runs of a script."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import Page

from midstream.testing.provider.script import Script, directive
from tests.contract.thread_tails import event_of
from tests.provider.client import ProviderServer
from tests.system import System

if TYPE_CHECKING:  # pytest itself imports the plugins
    from tests.e2e.browser import Tabs

pytest_plugins = ("tests.e2e.browser",)
pytestmark = pytest.mark.browser

FOLLOW = """([options]) => {
  window.read = { ids: [], text: "", ends: 0, merged: 0, resets: [], cursor: null };
  window.following = import("/midstream.js").then(({ thread }) => thread("/v1/threads/t/events", {
    ...options,
    onEntry(entry, { stream_id, cursor }) {
      const first = entry.first ?? entry.offset; // a merged entry stands for several
      for (let offset = first; offset < entry.offset; offset += 1) read.ids.push(`${stream_id}.${offset}`);
      if (entry.first < entry.offset) read.merged += 1;
      read.ids.push(cursor);
      read.cursor = cursor;
      if (entry.type === "text") read.text += entry.text;
      if (entry.type === "reset") read.resets.push(cursor);
      if (entry.type === "stream_ended") read.ends += 1;
    },
  }));
  following.catch(() => {}); // an error is for the code that awaits it, and not the page's own
}"""


@pytest.fixture
async def system(redis_url: str, tmp_path: Path, provider: ProviderServer) -> AsyncIterator[System]:
    async with System(redis_url, tmp_path, provider.url) as running:
        yield await running.start()


async def start(system: System, **script: Any) -> str:
    return await system.post(input=directive(Script(**script)), model="openai/gpt", thread="t")


async def canonical(system: System) -> list[str]:
    """Return the ids of all that there is in the thread."""
    answer = await system.http.get("/v1/threads/t/events", params={"follow": False})
    return [event[0] for frame in answer.text.split("\n\n") if (event := event_of(frame))]


async def reached(page: Page, what: str) -> None:
    """Wait until a condition of what the page has read holds."""
    async with asyncio.timeout(15):
        while not await page.evaluate(what):
            await asyncio.sleep(0.05)


async def test_tabs_read_what_is_started_anywhere_over_one_connection_and_a_killed_broker(
    tabs: "Tabs", system: System
) -> None:
    """Threads/Events, Read/Shared, I2: one of the tabs begins at a cursor, and one is reloaded from its own."""
    first = await start(system, words=20)
    await system.http.get(f"/v1/streams/{first}", params={"wait": 10})
    whole, late, reloaded = [await tabs.open(system.url) for _ in range(3)]
    for page, after in ((whole, None), (late, f"{first}.end"), (reloaded, None)):
        await page.evaluate(FOLLOW, [{"after": after}])
    await reached(whole, "read.ends === 1")
    assert await whole.evaluate("read.merged") > 0
    second = await start(system, words=300, delay_ms=10)
    for page in (whole, late, reloaded):
        await reached(page, "read.text.includes('w30 ')")
    assert (await system.http.get(f"/v1/streams/{second}")).json()["tails"] == 1
    before = await reloaded.evaluate("read")
    await reloaded.reload()
    await reloaded.evaluate(FOLLOW, [{"after": before["cursor"]}])
    system.brokers[0].kill()
    await system.brokers[0].wait()
    await system.start_broker()
    await start(system, words=3)
    expected = [2, 3, 3 - before["ends"]]
    for page, ends in zip((late, whole, reloaded), expected, strict=True):
        await reached(page, f"read.ends === {ends}")
    ids = await canonical(system)
    assert (await whole.evaluate("read"))["ids"] == ids
    assert (await late.evaluate("read"))["ids"] == ids[ids.index(f"{first}.end") + 1 :]
    assert before["ids"] + (await reloaded.evaluate("read"))["ids"] == ids
    tabs.expected.add("net::ERR_")
