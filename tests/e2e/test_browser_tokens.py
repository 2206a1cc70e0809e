"""Pages whose tokens end while they read: `examples/browser_tokens`, and `resumableFetch` (PROTOCOL: Access/Ending)."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Request, expect

from midstream.access.api_keys import digest
from midstream.testing.provider.script import Script, directive
from tests.provider.client import ProviderServer
from tests.servers import free_port, http_server
from tests.system import ROOT, System

if TYPE_CHECKING:  # pytest itself imports the plugins
    from tests.e2e.browser import Tabs

pytest_plugins = ("tests.e2e.browser",)
pytestmark = pytest.mark.browser

SCRIPT = Script(words=300, delay_ms=10, hold_at=250)
"""An answer that lasts until enough credentials have ended."""
LEAST_LIFE_S = 1.0
"""Of a key when a page gets it: one that ends before the broker reads it is refused."""
KEY = "backend-key-of-more-than-32-characters"


@asynccontextmanager
async def backend(system: System, port: int, folder: Path) -> AsyncIterator[str]:
    """Run the example's backend with tokens of 2 s, and yield the URL of its page."""
    environment = system.environment | {"MIDSTREAM_URL": system.url, "MIDSTREAM_API_KEY": KEY, "TOKEN_TTL_S": "2"}
    url = f"http://127.0.0.1:{port}"
    words = (sys.executable, "-m", "uvicorn", "backend:app", "--port", str(port), "--log-level", "warning")
    where = ROOT / "examples" / "browser_tokens"
    async with http_server(url, words, folder / "backend.log", cwd=where, env=environment):
        yield url


@pytest.mark.slow_start(15)
async def test_the_example_page_reads_an_answer_over_tokens_that_end(
    tabs: "Tabs", redis_url: str, tmp_path: Path, provider: ProviderServer
) -> None:
    """Access/Ending, I2, I5."""
    port = free_port()
    origin = f"http://127.0.0.1:{port}"
    async with (
        System(redis_url, tmp_path, provider.url, api_keys=f"{KEY}:acme", cors_origins=origin) as system,
        backend(await system.start(), port, tmp_path) as url,
    ):
        page = await tabs.open(f"{url}/?model=openai/gpt")
        tokens: set[str] = set()
        enough = asyncio.Event()

        async def note(request: Request) -> None:
            if urlsplit(request.url).path.endswith("/events"):
                tokens.add((await request.all_headers())["authorization"])
                if len(tokens) >= 3:
                    enough.set()

        page.on("request", note)
        await page.get_by_label("Question").fill(directive(SCRIPT))
        await page.get_by_role("button", name="Ask").click()
        async with asyncio.timeout(30):
            await enough.wait()
        await provider.release()
        await expect(page).to_have_title("completed", timeout=60_000)
        assert await page.locator("#answer").text_content() == SCRIPT.text()
        assert len(tokens) >= 3, "the token ended twice or more"
        assert KEY not in str(tokens)
        assert len(await provider.calls()) == 1


CHAT = """async (text) => {
  const { resumableFetch } = await import("/midstream.js");
  const messages = [{ id: "u", role: "user", parts: [{ type: "text", text }] }];
  const init = { method: "POST", headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ id: "c", messages, model: "openai/gpt" }) };
  const answer = await resumableFetch({ token: nextKey })("/api/chat", init);
  const parts = (await answer.text()).split("\\n\\n").filter((line) => line.startsWith("data: {"));
  return parts.map((line) => JSON.parse(line.slice(6)));
}"""


@pytest.mark.slow_start(15)
async def test_a_chat_goes_on_over_keys_that_end(
    tabs: "Tabs", redis_url: str, tmp_path: Path, provider: ProviderServer
) -> None:
    """Access/Ending, I2, I5."""
    path = tmp_path / "keys.toml"
    path.write_text("")
    keys: list[str] = []
    enough = asyncio.Event()
    tabs.expected.add("401")  # the broker's own page asks before it has a key
    async with System(redis_url, tmp_path, provider.url, keys_file=path) as system:
        began_s = time.time()
        ends_s = {f"key{number}": began_s + 2 * number for number in range(100)}
        path.write_text(
            "".join(
                f'[[keys]]\nname = "{key}"\nsha256 = "{digest(key)}"\ntenant = "acme"\n'
                f"expires = {datetime.fromtimestamp(end_s, UTC).isoformat()}\n"
                for key, end_s in ends_s.items()
            )
        )
        await system.start()

        async def next_key() -> str:
            keys.append(next(key for key, end_s in ends_s.items() if time.time() + LEAST_LIFE_S < end_s))
            if len(set(keys)) >= 3:
                enough.set()
            return keys[-1]

        page = await tabs.open(system.url)
        await page.expose_function("nextKey", next_key)
        reading = asyncio.create_task(page.evaluate(CHAT, directive(SCRIPT)))
        async with asyncio.timeout(30):
            await enough.wait()
        await provider.release()
        parts = await reading
        assert "".join(part["delta"] for part in parts if part["type"] == "text-delta") == SCRIPT.text()
        assert [part["type"] for part in parts].count("error") == 0
        assert parts[-1]["type"] == "finish"
        assert len(set(keys)) >= 3, "two keys ended or more"
        assert len(await provider.calls()) == 1
