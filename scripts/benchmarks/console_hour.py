"""Whether the console's page of a stream grows while it follows the stream for an hour, a minute standing for it."""

import asyncio
import re
import shutil
import tempfile
from pathlib import Path
from typing import Final

from playwright.async_api import CDPSession, Page, Route, async_playwright

from midstream.access.api_keys import digest
from scripts.benchmarks.benchmark import OURS, Benchmark, Figures
from scripts.benchmarks.find import KEY_ROW
from scripts.benchmarks.following import started
from scripts.benchmarks.producer import TENANT, Producer
from scripts.benchmarks.rig import Rig

HASTE: Final = 60
"""The page looks so many times as often as it does, and as many times more entries come."""
RATE: Final = 50.0
HOUR_S: Final = 3_600
QUICK: Final = 10
OPERATOR: Final = "operator"
SETTLE_S: Final = 3.0
WAIT_MS: Final = 120_000
_PACE: Final = re.compile(r"(const \w*EVERY_MS = )([\d_]+);")
_REST: Final = re.compile(r"(const REST = )\d+;")


async def _hasten(route: Route) -> None:
    answer = await route.fetch()
    script = _PACE.sub(lambda each: f"{each[1]}{int(each[2]) / HASTE:g};", await answer.text())
    await route.fulfill(response=answer, body=_REST.sub(r"\g<1>1;", script))


async def _grown(page: Page, session: CDPSession) -> tuple[float, float]:
    """Return the page's heap in MiB after the rubbish was collected, and its nodes."""
    await asyncio.sleep(SETTLE_S / HASTE)
    await session.send("HeapProfiler.collectGarbage")
    rows = (await session.send("Performance.getMetrics"))["metrics"]
    metrics = {row["name"]: float(row["value"]) for row in rows}
    elements = await page.evaluate("document.querySelectorAll('*').length")
    return metrics["JSHeapUsedSize"] / 2**20, max(float(elements), metrics["Nodes"])


async def _watch(url: str, producer: Producer, seconds: int) -> Figures:
    entries = int(seconds * RATE)
    (stream,) = producer.streams
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        page = await browser.new_page()
        page.set_default_timeout(WAIT_MS)
        await page.route("**/console/files/*.js", _hasten)
        await page.goto(f"{url}/console/streams/{TENANT}/{stream}")
        await page.get_by_placeholder("Operator's key").fill(OPERATOR)
        await page.get_by_role("button", name="Sign in").click()
        await page.get_by_text("The answer so far").click()
        session = await page.context.new_cdp_session(page)
        await session.send("Performance.enable")
        figures: dict[str, float] = {}
        # All that is bounded is full after a tenth of the time.
        for part, name in ((entries // 10, "after a tenth"), (entries - entries // 10, "at the end")):
            await asyncio.to_thread(_append, producer, part)
            rows = int(sum((entries // 10, entries - entries // 10)[: 1 if name == "after a tenth" else 2])) + 2
            await page.wait_for_function(
                "(rows) => Number(document.querySelector('.entries').ariaRowCount) >= rows", arg=rows
            )
            figures[f"heap {name}, MiB"], figures[f"nodes {name}"] = await _grown(page, session)
        await browser.close()
    return figures | {"entries": float(entries)}


def _append(producer: Producer, entries: int) -> None:
    producer.begin(entries, RATE * HASTE)
    producer.finish()


def _run(quick: bool) -> Figures:
    with Rig() as rig, tempfile.TemporaryDirectory() as folder:
        keys_file = Path(folder) / "keys.toml"
        keys_file.write_text(KEY_ROW.format(digest(OPERATOR)))
        server, producer = started(rig, OURS, 1, keys_file=keys_file)
        seconds = HOUR_S // (QUICK if quick else 1)
        return asyncio.run(_watch(f"http://localhost:{server.port}", producer, seconds))


CONSOLE_HOUR: Final = Benchmark(
    name="console-hour",
    title="The console follows a stream for an hour",
    note=f"Chromium shows the page of a stream with {RATE:g} entries/s and the answer so far. Everything happens "
    f"{HASTE} times as fast. Heap and nodes after the rubbish was collected: what is bounded is full after a tenth.",
    systems={OURS: _run},
    ratio=None,
    plotted=("heap after a tenth, MiB", "heap at the end, MiB"),
    headlines={},
)
