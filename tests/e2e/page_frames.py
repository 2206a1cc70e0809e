"""How many frames a second the page shows while an answer of 20,000 words is written; `scripts/page frames` runs it."""

import asyncio
import itertools
import statistics
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from playwright.async_api import CDPSession, async_playwright, expect

from tests.e2e.browser import ARGUMENTS, CHROMIUM
from tests.e2e.chat_page import answer, ask
from tests.servers import ValkeyProcess
from tests.system import System

WORDS: Final = 20_000
RATE: Final = 200.0
LEAST: Final = 50.0
MARK: Final = "The measured part begins here."
DURATIONS: Final = ("TaskDuration", "ScriptDuration", "LayoutDuration", "RecalcStyleDuration")
FRAMES_MS: Final = """(answer) => new Promise((resolve) => {
  const frames_ms = [];
  const note = (now) => { frames_ms.push(now); requestAnimationFrame(note); };
  requestAnimationFrame(note);
  const look = () => answer.querySelector(".outcome") && resolve(frames_ms);
  new MutationObserver(look).observe(answer, { childList: true });
})"""
"""When each frame was shown until the answer's end. The page itself waits for that, because Playwright's `expect`
describes the whole page each second, and stops it for as long meanwhile."""
SECTION: Final = """

## Section {number}

A paragraph with **strong words**, `code`, and [a link](https://example.org/{number}), long enough to fill some lines of
the page, because that is what models write most of the time, and what a browser has to break into lines again and again
as it grows. {more}

- a first point about {number}
- a second one with *emphasis*
  - and one below it
- a third

| name | value |
|------|------:|
| a    | {number} |
| b    | 2 |

```python
def section_{number}(words: list[str]) -> int:
    # counts the words
    return sum(len(word) for word in words) + {number}
```
"""


def text() -> str:
    """Return some 20,000 words of Markdown."""
    more = "It goes on and says the same in other words, " * 8
    section = SECTION.format(number=1, more=more)
    return "".join(SECTION.format(number=number, more=more) for number in range(WORDS // len(section.split())))


async def prose(messages: list[dict[str, Any]], _params: dict[str, Any]) -> AsyncIterator[str]:
    """Yield the text: at once what comes before the last words, whose number is the prompt, then those one by one."""
    words = text().split(" ")
    measured = int(messages[-1]["content"])
    yield " ".join(words[:-measured]) + f"\n\n{MARK} "
    began_s = asyncio.get_running_loop().time()
    for number, word in enumerate(words[-measured:]):
        await asyncio.sleep(max(0.0, began_s + number / RATE - asyncio.get_running_loop().time()))
        yield f"{word} "


async def _durations_s(session: CDPSession) -> dict[str, float]:
    """Return how long the page's main thread has been at work, in all and at what."""
    rows = (await session.send("Performance.getMetrics"))["metrics"]
    return {row["name"]: float(row["value"]) for row in rows if row["name"] in DURATIONS}


async def run(measured_words: int) -> tuple[bool, str]:
    """Return whether the page shows enough frames while the last words come, and what is to be said of it."""
    apps = '{"prose": "tests.e2e.page_frames:prose"}'
    with tempfile.TemporaryDirectory() as folder, ValkeyProcess(Path(folder)) as redis:
        system = System(redis.url, Path(folder), apps=apps, default_model="app/prose")
        async with system, async_playwright() as playwright:
            await system.start()
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS])
            page = await browser.new_page()
            page.set_default_timeout(30_000)
            await page.goto(system.url)
            await ask(page, str(measured_words))
            await expect(answer(page)).to_contain_text(MARK)
            session = await page.context.new_cdp_session(page)
            await session.send("Performance.enable", {"timeDomain": "threadTicks"})
            before = await _durations_s(session)
            async with asyncio.timeout(measured_words / RATE + 60):
                frames_ms: list[float] = await answer(page).evaluate(FRAMES_MS)
            spent_s = {name: after - before[name] for name, after in (await _durations_s(session)).items()}
            words = len((await answer(page).evaluate("(it) => it.source()")).split())
            await browser.close()
    return _judged(frames_ms, spent_s, f"{words:,} words on the page, the last {measured_words:,} at {RATE:g} a second")


def _judged(frames_ms: list[float], spent_s: dict[str, float], what: str) -> tuple[bool, str]:
    seconds = (frames_ms[-1] - frames_ms[0]) / 1000
    rate = (len(frames_ms) - 1) / seconds
    gaps_ms = [after - before for before, after in itertools.pairwise(frames_ms)]
    spent = ", ".join(f"{name} {each_s:.1f}" for name, each_s in spent_s.items())
    return rate >= LEAST, (
        f"{what}: {rate:.1f} frames/s over {seconds:.0f} s; a frame took {statistics.median(gaps_ms):.1f} ms in the "
        f"median, {max(gaps_ms):.0f} ms at most. CPU of the page's main thread: "
        f"{1000 * spent_s['TaskDuration'] / len(gaps_ms):.1f} ms a frame; in s: {spent}"
    )
