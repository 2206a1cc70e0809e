"""Pages whose tokens end while they read: `examples/browser_tokens`, and `resumableFetch` (PROTOCOL: Access/Ending)."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import Request, expect

from midstream.access.api_keys import digest
from tests.provider.client import ProviderServer
from tests.provider.script import Script, directive
from tests.servers import free_port, http_server
from tests.system import ROOT, System

if TYPE_CHECKING:  # pytest itself imports the plugins
    from tests.e2e.browser import Tabs

pytest_plugins = ("tests.e2e.browser",)
pytestmark = pytest.mark.browser

SCRIPT = Script(words=400, delay_ms=20)
"""An answer of about 8 s."""
KEY = "backend-key-of-more-than-32-characters"


@asynccontextmanager
async def backend(system: System, port: int, folder: Path) -> AsyncIterator[str]:
    """Run the example's backend with tokens of 3 s, and yield the URL of its page."""
    environment = system.environment | {"MIDSTREAM_URL": system.url, "MIDSTREAM_API_KEY": KEY, "TOKEN_TTL_S": "3"}
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
        tails: list[Request] = []
        page.on("request", lambda request: tails.append(request) if request.url.endswith("/events") else None)
        await page.get_by_label("Question").fill(directive(SCRIPT))
        await page.get_by_role("button", name="Ask").click()
        await expect(page).to_have_title("completed", timeout=60_000)
        assert await page.locator("#answer").text_content() == SCRIPT.text()
        tokens = {(await request.all_headers())["authorization"] for request in tails}
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
    calls = 0
    tabs.expected.add("401")  # the broker's own page asks before it has a key
    async with System(redis_url, tmp_path, provider.url, keys_file=path) as system:
        began_s = time.time()
        ends_s = {f"key{number}": began_s + after_s for number, after_s in enumerate((9, 12, 600))}
        path.write_text(
            "".join(
                f'[[keys]]\nname = "{key}"\nsha256 = "{digest(key)}"\ntenant = "acme"\n'
                f"expires = {datetime.fromtimestamp(end_s, UTC).isoformat()}\n"
                for key, end_s in ends_s.items()
            )
        )
        await system.start()

        async def next_key() -> str:
            nonlocal calls
            calls += 1
            return next(key for key, end_s in ends_s.items() if time.time() < end_s)

        page = await tabs.open(system.url)
        await page.expose_function("nextKey", next_key)
        await asyncio.sleep(max(0, began_s + 7 - time.time()))  # so that two keys end during the answer of about 8 s
        parts = await page.evaluate(CHAT, directive(SCRIPT))
        assert "".join(part["delta"] for part in parts if part["type"] == "text-delta") == SCRIPT.text()
        assert [part["type"] for part in parts].count("error") == 0
        assert parts[-1]["type"] == "finish"
        assert calls >= 3
        assert len(await provider.calls()) == 1
