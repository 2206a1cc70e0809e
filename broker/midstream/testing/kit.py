"""A whole midstream in the process of a test: an embedded server, a broker, a worker and a fake model."""

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from anyio.from_thread import start_blocking_portal
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from midstream.app_registry import with_app_modules
from midstream.http.app import create_app
from midstream.settings import Settings
from midstream.sync import Midstream
from midstream.testing.fake_model import FakeModel, fake_model
from midstream.testing.in_process import serving, worker
from midstream.testing.valkey_process import ValkeyProcess

QUICK: Final[Mapping[str, Any]] = {
    "lease_ms": 1_000,
    "requeue_ms": 500,
    "drain_s": 2.0,
    "broker_drain_ms": 500,
    "flush_ms": 5,
    "demo_delay_ms": 1,
    # A debugger stops the loop that apps run in for as long as one thinks.
    "app_block_s": 86_400.0,
}
"""Settings that are better for a test than the defaults, which are for production."""
FAKE_KEY: Final = "sk-fake"


class _OwnSettings(Settings):
    """Settings that are read from nowhere: what holds in a test stands in the test."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the arguments as the only source."""
        return (init_settings,)


class Kit:
    """A whole midstream for one test; a context manager that is up within a second, and leaves nothing.

    Broker and worker run in a thread of this process, so that a test may replace what its apps call. The embedded
    server is a process of its own. All calls of `openai/…`, `anthropic/…` and `fake/…` models go to the fake model,
    which nobody pays for.

    Args:
        settings: Settings of the broker and the worker, by their names in small letters, for example
            `apps={"answer": "shop.agents:answer"}`. `MIDSTREAM_*` variables are not read.

    Attributes:
        url: The broker's address.
        redis_url: The embedded server's address.
        model: The fake model.
        client: A client of the broker, for code without an event loop.
        server: The embedded server, which a test may kill, freeze and restart.
        environment: The variables by which programs find this midstream and the fake model.
    """

    def __init__(self, **settings: Any) -> None:
        self.url = ""
        self.redis_url = ""
        self.model: FakeModel
        self.client: Midstream
        self.server: ValkeyProcess
        self.environment: dict[str, str] = {}
        self._settings = settings
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Start everything.

        Raises:
            pydantic.ValidationError: A setting does not fit.
            RuntimeError: The embedded server did not start.
        """
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="midstream-"))
            self.server = stack.enter_context(ValkeyProcess(Path(folder)))
            self.redis_url = self.server.url
            portal = stack.enter_context(start_blocking_portal(name="midstream"))
            self.model = stack.enter_context(portal.wrap_async_context_manager(fake_model()))
            settings = self._own_settings()
            self.url = stack.enter_context(portal.wrap_async_context_manager(_running(settings)))
            self.client = stack.enter_context(Midstream(self.url))
            self.environment = self._environment(settings)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything, and forget what was logged."""
        self._stack.close()

    def _own_settings(self) -> Settings:
        of_model = {
            "default_model": "fake/model",
            "openai_api_key": FAKE_KEY,
            "openai_base_url": self.model.openai_url,
            "anthropic_api_key": FAKE_KEY,
            "anthropic_base_url": self.model.url,
        }
        providers = {"fake": self.model.openai_url, **self._settings.get("providers", {})}
        own = {"redis_url": self.redis_url, "port": 0, "providers": providers}
        return with_app_modules(_OwnSettings(**{**QUICK, **of_model, **self._settings, **own}))

    def _environment(self, settings: Settings) -> dict[str, str]:
        return {
            "MIDSTREAM_URL": self.url,
            "MIDSTREAM_REDIS_URL": self.redis_url,
            "MIDSTREAM_LEASE_MS": str(settings.lease_ms),
            "OPENAI_API_KEY": FAKE_KEY,
            "OPENAI_BASE_URL": self.model.openai_url,
            "ANTHROPIC_API_KEY": FAKE_KEY,
            "ANTHROPIC_BASE_URL": self.model.url,
        }


@asynccontextmanager
async def _running(settings: Settings) -> AsyncIterator[str]:
    """Run a worker and a broker, and yield the broker's address."""
    async with worker(settings), serving(settings, create_app(settings)) as url:
        yield url
