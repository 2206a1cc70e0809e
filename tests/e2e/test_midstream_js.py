"""`/midstream.js` in a real browser: tabs that share a connection, a network that goes away."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import Page

from broker.http.site import PAGE
from tests.provider.client import ProviderServer
from tests.provider.script import Script, directive
from tests.system import System

if TYPE_CHECKING:  # pytest itself imports the plugins
    from tests.e2e.browser import Tabs

pytest_plugins = ("tests.e2e.browser",)
pytestmark = pytest.mark.browser

FOLLOW = """([id, share]) => {
  window.read = { text: "", offsets: [], states: [], end: null };
  window.following = import("/midstream.js").then(({ tail }) => tail(`/v1/streams/${id}/events`, {
    share,
    onEntry(entry) {
      read.offsets.push(entry.offset);
      if (entry.type === "text") read.text += entry.text;
      if (entry.type === "end") read.end = entry.outcome;
    },
    onConnection: (state) => read.states.push(state),
  }));
}"""


@pytest.fixture
async def system(redis_url: str, tmp_path: Path, provider: ProviderServer) -> AsyncIterator[System]:
    async with System(redis_url, tmp_path, provider.url) as running:
        yield await running.start()


async def read(page: Page) -> dict[str, Any]:
    """Wait for the end and return what the page has read."""
    await page.evaluate("following")
    seen: dict[str, Any] = await page.evaluate("read")
    assert seen["offsets"] == list(range(1, len(seen["offsets"]) + 1))
    assert seen["end"] == "completed"
    return seen


async def begun(page: Page, word: str) -> None:
    # Not once per frame: a tab behind another one has none.
    await page.wait_for_function("(word) => read.text.includes(word)", arg=word, polling=50)


async def test_eight_tabs_on_http_1_follow_by_one_connection(
    tabs: "Tabs", system: System, provider: ProviderServer
) -> None:
    script = Script(words=300, delay_ms=20)
    stream_id = await system.post(input=directive(script), model="openai/gpt")
    pages = [await tabs.open(system.url) for _ in range(8)]
    for page in pages:
        await page.evaluate(FOLLOW, [stream_id, True])
    for page in pages:
        await begun(page, "w30 ")
    assert (await system.http.get(f"/v1/streams/{stream_id}")).json()["tails"] == 1
    await pages[0].close()  # it has asked first, so it is the one that reads for all
    for page in pages[1:]:
        assert (await read(page))["text"] == script.text()
    assert len(await provider.calls()) == 1


async def test_five_seconds_offline_lose_nothing(tabs: "Tabs", system: System, provider: ProviderServer) -> None:
    script = Script(words=400, delay_ms=20)
    stream_id = await system.post(input=directive(script), model="openai/gpt")
    page = await tabs.open(system.url)
    await page.evaluate(FOLLOW, [stream_id, False])
    await begun(page, "w10 ")
    # Chromium's own switch lets open connections live; a broker that is gone takes them too.
    await tabs.context.set_offline(True)
    system.brokers[0].kill()
    await system.brokers[0].wait()
    await system.start_broker()
    await asyncio.sleep(5)
    before = await page.evaluate("read.text")
    await tabs.context.set_offline(False)
    seen = await read(page)
    assert (len(before) < len(script.text()), seen["text"]) == (True, script.text())
    assert "reconnecting" in seen["states"]
    assert len(await provider.calls()) == 1
    tabs.errors[:] = [error for error in tabs.errors if "net::ERR_" not in error]


async def test_a_refusal_is_an_error_with_its_problem(tabs: "Tabs", system: System) -> None:
    page = await tabs.open(system.url)
    await page.evaluate(FOLLOW, ["nobodys", True])
    code = await page.evaluate("following.catch(({ status, problem }) => [status, problem.code])")
    assert code == [404, "stream_not_found"]
    tabs.errors.remove("Failed to load resource: the server responded with a status of 404 (Not Found)")


async def test_the_module_and_its_types_are_served_and_can_be_packed(system: System, tmp_path: Path) -> None:
    for name, media_type in (("midstream.js", "text/javascript"), ("midstream.d.ts", "text/plain")):
        answer = await system.http.get(f"/{name}")
        assert answer.content == (PAGE / name).read_bytes()
        assert answer.headers["content-type"].startswith(media_type)
    try:
        packed = subprocess.run(  # noqa: ASYNC221 - nothing else goes on here
            ["npm", "pack", "--json", "--pack-destination", tmp_path],
            cwd=PAGE,
            capture_output=True,
            text=True,
            check=True,
        )
    except FileNotFoundError:
        pytest.skip("there is no `npm` on the PATH")
    for name in ("midstream.js", "midstream.d.ts", "package.json"):
        assert f'"path": "{name}"' in packed.stdout
    assert "chat.js" not in packed.stdout
