"""Finds the source of a model, and makes each source when it is first needed."""

import contextlib
import logging
from collections.abc import Iterable
from pathlib import Path

import httpx2

from midstream.app_registry import LIFESPAN, Lifespan
from midstream.attempts.delta import SourceError
from midstream.requests.catalogue import split
from midstream.settings import Settings
from midstream_worker.sources.app_import import AppImportError, import_app
from midstream_worker.sources.app_signature import AppSignatureError
from midstream_worker.sources.lifespans import Lifespans
from midstream_worker.sources.provider_http import AnswerLimits, provider_client
from midstream_worker.sources.source import Source

logger = logging.getLogger(__name__)

# An SDK is imported when its first source is made, because importing one takes about a second.


class Sources:
    """One source for each provider, made when it is first needed; it serves any number of generations at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._made: dict[str, Source] = {}
        self._broken: dict[str, str] = {}
        self._lifespans = Lifespans(settings.app_lifespan_s)

    def get(self, model: str) -> tuple[Source, str]:
        """Return the source of `provider/name`, and the name without its provider.

        Raises:
            SourceError: `source_error`: an app's module or function cannot be found.
            KeyError: The settings of this process know no such provider or app, or not the provider's key.
        """
        provider, name = split(model)
        key = model if provider == "app" else provider
        if key not in self._made:
            self._made[key] = self._make(provider, name)
        return self._made[key], name

    def warm(self) -> None:
        """Make the sources that are likely to be needed, also apps: a later import would block the loop for seconds.

        Raises:
            AppSignatureError: An app cannot be called as it is; the message names it.
        """
        settings = self._settings
        likely = {
            "openai": settings.openai_api_key,
            "anthropic": settings.anthropic_api_key,
            "gemini": settings.gemini_api_key,
            "local": settings.local_url,
        }
        for provider in (*(name for name, configured in likely.items() if configured), *settings.providers):
            try:
                self.get(f"{provider}/any")
            except SourceError as error:  # its extra is not installed: a key may be there for another program
                logger.warning("%s has a key, but no model of it can be called: %s", provider, error.message)
        for app in settings.apps:
            with contextlib.suppress(SourceError):  # it is logged, and every request for this app fails with it
                self.get(f"app/{app}")

    async def open_apps(self) -> None:
        """Enter the lifespans of all apps. One that fails is logged, and every request for its app fails with it."""
        for name, path in self._settings.apps.items():
            lifespan = self._lifespan_of(path)
            if lifespan is None or path in self._broken:
                continue
            try:
                await self._lifespans.open(lifespan)
            except Exception as error:  # noqa: BLE001 - the user's code may raise anything
                logger.error("the lifespan of the app %s (%s) has failed: %r", name, path, error)  # noqa: TRY400
                self._made.pop(f"app/{name}", None)
                self._broken[path] = "could not be opened"

    async def aclose(self) -> None:
        """Close all sources' connections, and what apps have opened."""
        await self._lifespans.aclose()
        made, self._made = self._made, {}
        for source in made.values():
            await source.aclose()

    def _make(self, provider: str, name: str) -> Source:
        settings = self._settings
        match provider:
            case "openai":
                self._key(provider)
                in_responses = settings.has_responses(provider)
                return self._of_openai(
                    provider, settings.openai_base_url, responses=in_responses, background=settings.openai_background
                )
            case "anthropic":
                return self._anthropic()
            case "gemini":
                return self._gemini()
            case "demo":
                from midstream_worker.sources.demo import Demo  # noqa: PLC0415

                return Demo(settings.demo_delay_ms)
            case "app":
                return self._app(name)
            case "local":
                return self._of_openai(provider, settings.local_url, paid=False)
        server = settings.server_of(provider)
        return self._of_openai(
            provider, server.url, responses=server.dialect == "responses", background=server.background
        )

    def _app(self, name: str) -> Source:
        from midstream_worker.sources.app_source import App  # noqa: PLC0415

        path = self._settings.apps[name]
        if path not in self._broken:
            try:
                lifespan = self._lifespan_of(path)
                return App(name, import_app(path), lambda: self._lifespans.objects(lifespan))
            except AppSignatureError as error:
                raise AppSignatureError(f"the app {name} ({path}) cannot be called: {error}") from None
            except AppImportError as error:
                where = Path.cwd()
                logger.error("the app %s (%s, looked for in %s) cannot be imported: %s", name, path, where, error)  # noqa: TRY400
                # It is not tried again: failing may take seconds, and blocks every other generation meanwhile.
                self._broken[path] = "could not be imported"
        raise SourceError("source_error", f"The app {name} {self._broken[path]}.")

    def _lifespan_of(self, path: str) -> Lifespan | None:
        try:
            return getattr(import_app(path), LIFESPAN, None)
        except AppImportError:
            return None

    def _of_openai(
        self,
        provider: str,
        base_url: str | None,
        *,
        responses: bool = False,
        background: bool = False,
        paid: bool = True,
    ) -> Source:
        """Return the source of OpenAI or of a compatible server, by Responses where it has them."""
        import openai  # noqa: PLC0415

        from midstream_worker.sources.failures import Failures  # noqa: PLC0415
        from midstream_worker.sources.openai_apis import OpenAI  # noqa: PLC0415
        from midstream_worker.sources.openai_chat import OpenAIChat  # noqa: PLC0415
        from midstream_worker.sources.openai_responses import OpenAIResponses  # noqa: PLC0415

        secret = self._settings.key_of(provider)
        client = openai.AsyncOpenAI(
            api_key=secret or "none",  # the SDK insists on a key, which most local servers do not need
            base_url=base_url,
            max_retries=0,
            http_client=self._http_client(),
        )
        failures = Failures(openai, provider, _secrets(secret, base_url))
        most = self._settings.max_output_bytes
        chat = OpenAIChat(client, failures, paid=paid, max_output_bytes=most, at_openai=provider == "openai")
        if not responses:
            return chat
        return OpenAI(OpenAIResponses(client, failures, background=background, max_output_bytes=most), chat)

    def _anthropic(self) -> Source:
        import anthropic  # noqa: PLC0415

        from midstream_worker.sources.anthropic import AnthropicMessages  # noqa: PLC0415
        from midstream_worker.sources.failures import Failures  # noqa: PLC0415

        settings, key = self._settings, self._key("anthropic")
        client = anthropic.AsyncAnthropic(
            api_key=key, base_url=settings.anthropic_base_url, max_retries=0, http_client=self._http_client()
        )
        failures = Failures(anthropic, "anthropic", _secrets(key, settings.anthropic_base_url))
        return AnthropicMessages(client, failures, max_output_bytes=settings.max_output_bytes)

    def _gemini(self) -> Source:
        settings, key = self._settings, self._key("gemini")
        try:
            from google.genai import Client, types  # noqa: PLC0415
            from google.genai._gaos.lib import compat_errors  # noqa: PLC0415
        except ImportError:
            raise SourceError("source_error", "Gemini's models need the extra midstream[gemini].") from None

        from midstream_worker.sources.failures import Failures  # noqa: PLC0415
        from midstream_worker.sources.gemini import Gemini  # noqa: PLC0415

        http = self._http_client()
        options = types.HttpOptions(
            base_url=settings.gemini_base_url,
            httpx_async_client=http,
            retry_options=types.HttpRetryOptions(attempts=1),
        )
        # Without `vertexai`, the SDK would read from the environment whether it calls Google's cloud instead.
        client = Client(api_key=key, vertexai=False, http_options=options)
        failures = Failures(compat_errors, "gemini", _secrets(key, settings.gemini_base_url))
        return Gemini(
            client,
            http,
            failures,
            background=settings.gemini_background,
            max_output_bytes=settings.max_output_bytes,
        )

    def _key(self, provider: str) -> str:
        key = self._settings.key_of(provider)
        if not key:
            raise KeyError(provider)
        return key

    def _http_client(self) -> httpx2.AsyncClient:
        settings = self._settings
        limits = AnswerLimits(settings.max_provider_event_bytes, settings.max_provider_answer_bytes)
        # The generation's own idle time-out comes first; this one is for calls outside of generations.
        return provider_client(limits, silence_s=settings.longest_idle_s)


def _secrets(key: str, base_url: str | None) -> Iterable[str]:
    return (key, httpx2.URL(base_url or "").password)
