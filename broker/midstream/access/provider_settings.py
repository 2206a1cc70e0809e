"""The settings of the models' providers; `midstream.settings` holds them with all others.

Keys and base URLs are read from the SDKs' usual variables. They are here so that the broker knows which models are
available without importing an SDK.
"""

import re
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode

from midstream.access.access_settings import listed
from midstream.access.app_settings import APP_PATH
from midstream.access.secret_files import secret

HTTP_SCHEMES: Final = ("http", "https")
KEYED: Final = ("openai", "anthropic", "gemini")
"""The providers that answer nobody without a key."""
BUILT_IN_PROVIDERS: Final = frozenset((*KEYED, "local", "demo", "app", "external"))
FILTER_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class ProviderServer(BaseModel):
    """A server that is compatible with OpenAI's, and which of OpenAI's APIs it is called by.

    Attributes:
        url: Its base URL.
        dialect: Chat completions, which most have, or Responses.
        background: Whether it generates responses in the background, so that another worker can read a call on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    dialect: Literal["chat", "responses"] = "chat"
    background: bool = False

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.background and self.dialect != "responses":
            raise ValueError('only the dialect "responses" has a background mode')
        return self


class ProviderSettings(BaseSettings):
    """Which models there are, and how their providers are reached."""

    default_model: str | None = Field(default=None, description="model of a request that does not name one")
    local_url: str | None = Field(default=None, description="base URL of the local model's server")
    demo_delay_ms: int = Field(default=40, ge=0, description="pause between two words of the demo source")
    providers: dict[str, str | ProviderServer] = Field(
        default_factory=dict,
        description='servers that are compatible with OpenAI: {"ollama": "http://127.0.0.1:11434/v1"}; one that has '
        'the Responses API: {"vllm": {"url": "…", "dialect": "responses", "background": true}}',
    )
    filters: str = Field(
        default="",
        description="`name=module:function,…`: your functions that see all of an answer before it is logged",
    )
    redact: dict[str, str] = Field(
        default_factory=dict,
        description='regular expressions: {"key": "sk-[A-Za-z0-9]{20,}"} logs `[key]` in the place of one',
    )
    filter_hold_bytes: int = Field(
        default=4_096, ge=16, le=1_048_576, description="most bytes of a text that a filter may hold back"
    )
    filter_timeout_s: float = Field(default=5.0, gt=0, le=600, description="longest time of one call of a filter")
    openai_api_key: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("OPENAI_API_KEY"), description="key of the `openai` provider"
    )
    openai_base_url: str | None = Field(
        default=None, validation_alias=AliasChoices("OPENAI_BASE_URL"), description="base URL of `openai`"
    )
    openai_dialect: Annotated[str, NoDecode] = Field(
        default="responses", pattern=r"^(responses|chat)$", description="OpenAI's API to call: `responses` or `chat`"
    )
    openai_background: bool = Field(
        default=True, description="run `openai` generations in background mode, so that they can be re-attached"
    )
    anthropic_api_key: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("ANTHROPIC_API_KEY"), description="key of `anthropic`"
    )
    anthropic_base_url: str | None = Field(
        default=None, validation_alias=AliasChoices("ANTHROPIC_BASE_URL"), description="base URL of `anthropic`"
    )
    gemini_api_key: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("GEMINI_API_KEY"), description="key of `gemini`"
    )
    gemini_base_url: str | None = Field(
        default=None, validation_alias=AliasChoices("GEMINI_BASE_URL"), description="base URL of `gemini`"
    )
    gemini_background: bool = Field(
        default=True, description="run `gemini` generations in the background, so that they can be re-attached"
    )
    available: str = Field(
        default="",
        description="`openai,anthropic`: providers that a broker without their keys offers, as the workers have them",
    )

    @field_validator("local_url", "openai_base_url", "anthropic_base_url", "gemini_base_url")
    @classmethod
    def _http_url(cls, value: str | None) -> str | None:
        if value is not None:
            check_url(value, HTTP_SCHEMES)
        return value

    @field_validator("providers")
    @classmethod
    def _well_formed_providers(cls, value: dict[str, str | ProviderServer]) -> dict[str, str | ProviderServer]:
        for name, server in value.items():
            if not name or "/" in name or name in BUILT_IN_PROVIDERS:
                raise ValueError(f"{name!r} cannot be a provider's name: it is empty, contains a slash, or is in use")
            try:
                check_url(server if isinstance(server, str) else server.url, HTTP_SCHEMES)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
            secret(key_variable(name))
        return value

    @field_validator("filters")
    @classmethod
    def _well_formed_filters(cls, value: str) -> str:
        for each in listed(value):
            name, _, path = each.partition("=")
            if not FILTER_NAME.fullmatch(name) or not APP_PATH.fullmatch(path):
                raise ValueError(f"{each!r} is not `name=module:function`, as in moderation=shop.filters:moderate")
        return value

    @field_validator("available")
    @classmethod
    def _well_formed_available(cls, value: str) -> str:
        if set(listed(value)) - set(KEYED):
            raise ValueError(f"the providers are some of {', '.join(KEYED)}")
        return value

    @property
    def filter_paths(self) -> dict[str, str]:
        """The filters' `module:function` by their names, in their order."""
        return dict(each.split("=", 1) for each in listed(self.filters))

    def server_of(self, provider: str) -> ProviderServer:
        """Return one of the servers of `providers`.

        Raises:
            KeyError: There is no such server.
        """
        server = self.providers[provider]
        return ProviderServer(url=server) if isinstance(server, str) else server

    def has_responses(self, provider: str) -> bool:
        """Tell whether a provider is called by the Responses API."""
        if provider in self.providers:
            return self.server_of(provider).dialect == "responses"
        return provider == "openai" and self.openai_dialect == "responses"

    def key_of(self, provider: str) -> str:
        """Return a provider's API key; empty: this process has none."""
        keys = {"openai": self.openai_api_key, "anthropic": self.anthropic_api_key, "gemini": self.gemini_api_key}
        if provider not in keys:
            return secret(key_variable(provider))
        key = keys[provider]
        return key.get_secret_value() if key else ""

    def offers(self, provider: str) -> bool:
        """Tell whether a provider that wants a key is set up, here or at the workers."""
        return bool(self.key_of(provider)) or provider in listed(self.available)


def key_variable(provider: str) -> str:
    """Return the environment variable that holds a provider's API key."""
    return re.sub(r"\W", "_", provider).upper() + "_API_KEY"


def check_url(url: str, schemes: tuple[str, ...]) -> None:
    """Refuse a URL that cannot be connected to. The message does not repeat it, because it may hold a password."""
    parts = urlsplit(url)
    if parts.scheme not in schemes:
        raise ValueError(f"the URL begins with none of {', '.join(f'{scheme}://' for scheme in schemes)}")
    try:
        has_address = (parts.path if parts.scheme == "unix" else parts.hostname) and parts.port != 0
    except ValueError:  # the port is no number, or too large
        has_address = False
    if not has_address:
        raise ValueError("the URL names no host, or a port that cannot exist")
