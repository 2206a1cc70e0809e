"""A page that follows a stream by `/midstream.js`, as its tests speak of it."""

import asyncio
import time
from typing import Any

from playwright.async_api import Page

FOLLOW = """([id, options]) => {
  window.read = { text: "", offsets: [], merged: 0, states: [], end: null };
  window.following = import("/midstream.js").then(({ tail }) => tail(`/v1/streams/${id}/events`, {
    ...options,
    onEntry(entry) {
      const first = entry.first ?? entry.offset; // a merged entry stands for several
      for (let offset = first; offset <= entry.offset; offset += 1) read.offsets.push(offset);
      if (first < entry.offset) read.merged += 1;
      if (entry.type === "text") read.text += entry.text;
      if (entry.type === "end") read.end = entry.outcome;
    },
    onConnection: (state) => read.states.push(state),
  }));
  following.catch(() => {}); // an error is for the code that awaits it, and not the page's own
}"""


def check(seen: dict[str, Any]) -> dict[str, Any]:
    """Return what a page has read, which is every entry once, by itself or in a merged one."""
    assert seen["offsets"] == list(range(1, len(seen["offsets"]) + 1))
    assert seen["end"] == "completed"
    return seen


async def read(page: Page) -> dict[str, Any]:
    """Wait for the end and return what the page has read."""
    await page.evaluate("following.then(() => {})")
    return check(await page.evaluate("read"))


async def begun(page: Page, word: str, within_s: float = 15) -> None:
    """Wait until the page has read a word."""
    began_s = time.monotonic()
    # Asked from outside: a tab in the background has no frames, and few timers.
    while not await page.evaluate("(word) => read.text.includes(word)", word):
        assert time.monotonic() < began_s + within_s, await page.evaluate("({ hidden: document.hidden, ...read })")
        await asyncio.sleep(0.1)
