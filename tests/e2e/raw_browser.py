"""A Chromium spoken to by its own protocol, whose tabs can sleep: Playwright keeps every tab in the foreground."""

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.e2e.browser import ARGUMENTS, CHROMIUM

WAIT_S = 20.0
POLL_S = 0.05


class RawTab:
    """One tab."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command of the protocol and return its result."""
        number = next(self._numbers)
        await self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        async with asyncio.timeout(WAIT_S):
            while True:
                answer = json.loads(await self._socket.recv())
                if answer.get("id") == number:
                    assert "error" not in answer, answer
                    result: dict[str, Any] = answer["result"]
                    return result

    async def evaluate(self, expression: str) -> Any:
        """Return an expression's value; a tab that sleeps answers, too."""
        answer = await self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait until an expression is true."""
        began_s = time.monotonic()
        while not await self.evaluate(expression):
            assert time.monotonic() < began_s + WAIT_S, (
                expression,
                await self.evaluate("[document.hidden, self.read]"),
            )
            await asyncio.sleep(POLL_S)


class RawBrowser:
    """A browser process; each tab has a window of its own, so that all are visible."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stack = contextlib.AsyncExitStack()

    async def close(self) -> None:
        """Leave all tabs."""
        await self._stack.aclose()

    async def open(self, url: str) -> RawTab:
        """Open a tab and return it once it is loaded."""
        browser = RawTab(await self._stack.enter_async_context(connect(self._url)))
        target = (await browser.send("Target.createTarget", url=url, newWindow=True))["targetId"]
        address = f"{self._url.partition('/devtools')[0]}/devtools/page/{target}"
        tab = RawTab(await self._stack.enter_async_context(connect(address, max_size=None)))
        await tab.until(f"document.readyState === 'complete' && location.href.startsWith({json.dumps(url)})")
        return tab


@pytest.fixture
async def raw_browser(tmp_path: Path) -> AsyncIterator[RawBrowser]:
    """A browser of the test's own."""
    if CHROMIUM is None:
        pytest.skip("there is no `chromium` on the PATH")
    process = await asyncio.create_subprocess_exec(
        CHROMIUM, *ARGUMENTS, "--remote-debugging-port=0", f"--user-data-dir={tmp_path / 'profile'}", "about:blank",
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    async with asyncio.timeout(WAIT_S):
        line = await process.stderr.readuntil(b"/devtools/browser/")
        url = (line + await process.stderr.readuntil(b"\n")).decode().rpartition("DevTools listening on ")[2].strip()
    browser = RawBrowser(url)
    try:
        yield browser
    finally:
        await browser.close()
        process.terminate()
        await process.communicate()
