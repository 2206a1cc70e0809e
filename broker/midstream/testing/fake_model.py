"""The fake model as a test sees it: it says what the test wants, and counts what would have been paid."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from midstream.testing.in_process import listening
from midstream.testing.provider.event_stream import BreakableProtocol
from midstream.testing.provider.ledger import Call, Ledger
from midstream.testing.provider.script import Script
from midstream.testing.provider.server import create_app


class FakeModel:
    """A provider on loopback that speaks OpenAI's and Anthropic's APIs, and refuses what they refuse.

    Attributes:
        url: Its URL; the base URL that Anthropic's SDK wants.
        openai_url: The base URL that OpenAI's SDK wants.
    """

    def __init__(self, url: str, ledger: Ledger) -> None:
        self.url = url
        self.openai_url = f"{url}/v1"
        self._ledger = ledger

    def says(self, text: str, **more: Any) -> None:
        """Answer every call from now on with this text, word by word; `more` are further fields of a `Script`."""
        self.script = Script(says=text, **more)

    @property
    def script(self) -> Script:
        """What it does at every call: what it says, how fast, and how it fails."""
        return self._ledger.script

    @script.setter
    def script(self, script: Script) -> None:
        self._ledger.script = script

    @property
    def requests(self) -> list[Call]:
        """All calls so far, also those that it refused."""
        return list(self._ledger.calls)

    @property
    def calls(self) -> list[Call]:
        """The calls that a provider would have billed; `body` is what was asked."""
        return [call for call in self._ledger.calls if call.billed]


@asynccontextmanager
async def fake_model() -> AsyncIterator[FakeModel]:
    """Run a fake model in this event loop."""
    app = create_app()
    config = uvicorn.Config(app, http=BreakableProtocol, log_level="critical", timeout_graceful_shutdown=1)
    async with listening(config) as url:
        yield FakeModel(url, app.state.ledger)
