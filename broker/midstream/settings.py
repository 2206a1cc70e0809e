"""The settings: one frozen object that is read from the environment. Names end in their units.

Every field is read from `MIDSTREAM_<NAME>`; `midstream config` prints each with its meaning. The keys and base URLs of
providers are read from the SDKs' usual variables. They are here too, so that the broker knows which models are
available without importing an SDK.
"""

import re
from functools import cached_property
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from midstream.access.access_settings import LOOPBACK_HOSTS, AccessSettings, listed
from midstream.access.connection_settings import ConnectionSettings
from midstream.access.limit_settings import LimitSettings
from midstream.journal.journal_settings import JournalSettings

PREFIX = "MIDSTREAM_"
OPEN_TENANT = "default"
MIN_KEY_CHARS = 32
"""Length of the shortest API key that a broker accepts if it listens beyond loopback."""
REDIS_SCHEMES = ("redis", "rediss", "unix")
HTTP_SCHEMES = ("http", "https")
BUILT_IN_PROVIDERS = frozenset(("openai", "anthropic", "local", "demo", "app"))
APP_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9a-fA-F:.]+")
"""A host's name, or an address; one of IPv6 without its brackets."""
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s*]+")


class Settings(JournalSettings, ConnectionSettings, LimitSettings, AccessSettings):
    """All settings with their defaults.

    Raises:
        pydantic.ValidationError: A value does not parse or is out of range; it names the variable.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    redis_url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"),
        description="address of the Redis or Valkey server that holds the log",
    )
    key_prefix: str = Field(default="ms", pattern=r"^[A-Za-z0-9_-]{1,32}$", description="first part of every key")
    redis_timeout_s: float = Field(default=5.0, gt=0, le=60, description="longest wait for a reply of Redis")
    redis_connections: int = Field(default=16, ge=2, le=1_000, description="most connections of a process to Redis")
    data_dir: Path = Field(default=Path(".midstream"), description="folder in which `midstream up` keeps its data")

    host: str = Field(default="127.0.0.1", description="address that the broker listens on")
    port: int = Field(default=8080, ge=0, le=65_535, description="port that the broker listens on")
    fast_path: str = Field(
        default="auto",
        pattern=r"^(auto|off)$",
        description="`auto`: tails write past the server to their connections, where the installed server is one that "
        "this was tested with; `off`: never",
    )
    cors_origins: str = Field(
        default="",
        description="`https://app.example,…`: other origins whose pages may use the broker; `*` stands for all",
    )
    allowed_hosts: str = Field(
        default="",
        description="`midstream.example,…`: names that this broker is reached by, besides those of loopback; without "
        "keys, or with this list, a request for another host is refused",
    )
    max_wait_s: float = Field(default=60.0, gt=0, description="longest time that `?wait=` may ask for")
    page_limit: int = Field(default=1_000, ge=1, le=10_000, description="most entries or streams on one page")
    list_scan: int = Field(default=2_000, ge=100, description="most streams that a list with a filter looks at")
    heartbeat_ms: int = Field(
        default=15_000, ge=50, le=15_000, description="silence before a heartbeat is sent; clients rely on 15 s"
    )
    send_timeout_ms: int = Field(default=30_000, ge=100, description="a client that reads nothing for this long is cut")
    first_word_s: float = Field(
        default=15.0,
        ge=0,
        description="longest wait of an SDK's streamed answer for its first word, so that a failure has its status",
    )
    retry_ms: int = Field(default=1_000, ge=0, description="delay after which clients are asked to reconnect")
    broker_drain_ms: int = Field(default=2_000, ge=0, description="time that a broker gives open tails after SIGTERM")
    loop_stall_ms: int = Field(
        default=10_000,
        ge=500,
        description="a broker whose event loop has not turned for this long ends, and is started again",
    )
    ws_max_tails: int = Field(default=100, ge=1, le=10_000, description="most streams that one WebSocket tails at once")
    unsent_bytes: int = Field(
        default=67_108_864,
        ge=65_536,
        description="most bytes on their way to a process's lagging clients; the one that lags longest is cut",
    )
    window_bytes: int = Field(
        default=67_108_864, ge=65_536, description="most bytes of entries and frames kept for tails"
    )

    lease_ms: int = Field(default=10_000, ge=200, description="a producer that does not renew for this long is lost")
    retention_s: int = Field(default=86_400, ge=1, description="how long an ended stream is kept")
    tombstone_s: int = Field(default=3_600, ge=1, description="how long a deleted stream's id stays closed")
    durable_intent: bool = Field(
        default=False,
        description="before a paid call, wait until the intent is on the server's disk; needs a server that keeps it",
    )
    up_fsync: str = Field(
        default="everysec",
        pattern=r"^(everysec|always)$",
        description="when the server of `midstream up` writes to its disk; with a durable intent it is `always`",
    )
    up_maxmemory: str = Field(
        default="1gb",
        pattern=r"^\d+(kb|mb|gb)?$",
        description="most memory of the server of `midstream up`, `0`: no limit; a full one refuses starts, and drops "
        "nothing",
    )
    queue_timeout_s: float = Field(default=120.0, gt=0, description="longest time that a stream waits for a worker")
    outdated_after_s: float = Field(
        default=120.0,
        gt=0,
        description="a stream that was left alone for longer (a restored log) is sealed and not run; `inf`: run it",
    )
    requeue_ms: int = Field(default=5_000, ge=100, description="interval at which a queued stream's slip is renewed")
    max_generations: int = Field(default=200, ge=1, le=10_000, description="most generations of a worker at once")
    max_attempts: int = Field(default=5, ge=1, description="most attempts at a stream before it is sealed")
    generation_timeout_s: float = Field(default=900.0, gt=0, description="longest generation")
    idle_timeout_s: float = Field(default=180.0, gt=0, description="longest silence of a source by default")
    max_idle_timeout_s: float = Field(
        default=3_600.0, gt=0, description="largest `idle_timeout_s` that a request may set"
    )
    max_output_bytes: int = Field(default=16_777_216, ge=1_024, description="most bytes in the log of a stream")
    max_provider_event_bytes: int = Field(
        default=8_388_608, ge=1_024, description="largest event or document in a provider's answer"
    )
    max_provider_answer_bytes: int = Field(
        default=268_435_456, ge=1_024, description="most bytes read of a provider's answer"
    )
    flush_ms: int = Field(default=15, ge=0, le=5_000, description="longest time that a delta waits for its batch")
    flush_bytes: int = Field(default=512, ge=1, le=65_536, description="a batch of this size is written at once")
    app_block_s: float = Field(
        default=60.0, ge=1, description="a worker whose event loop an app blocks for longer than this ends"
    )
    drain_s: float = Field(default=20.0, ge=0, description="time that a worker gives running generations after SIGTERM")
    retry_attempts: int = Field(default=3, ge=1, le=10, description="most calls of a provider before the first delta")

    default_model: str | None = Field(default=None, description="model of a request that does not name one")
    local_url: str | None = Field(default=None, description="base URL of the local model's server")
    demo_delay_ms: int = Field(default=40, ge=0, description="pause between two words of the demo source")
    providers: dict[str, str] = Field(
        default_factory=dict,
        description='servers that are compatible with OpenAI: {"ollama": "http://127.0.0.1:11434/v1"}',
    )
    apps: dict[str, str] = Field(
        default_factory=dict, description='your own sources: {"name": "module:async_generator_function"}'
    )
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
    strict_openai: bool = Field(
        default=False,
        description="as OpenAI does: leaving a response that is not in the background cancels it, and it "
        "cannot be streamed again",
    )

    @field_validator("redis_url")
    @classmethod
    def _redis_url(cls, value: SecretStr) -> SecretStr:
        _check_url(value.get_secret_value(), REDIS_SCHEMES)
        parts = urlsplit(value.get_secret_value())
        database = parts.path.strip("/")
        if parts.scheme != "unix" and database and not database.isdecimal():  # redis-py would read it as 0
            raise ValueError("the part after the host must be the number of a database, as in redis://host:6379/0")
        return value

    @field_validator("local_url", "openai_base_url", "anthropic_base_url")
    @classmethod
    def _http_url(cls, value: str | None) -> str | None:
        if value is not None:
            _check_url(value, HTTP_SCHEMES)
        return value

    @field_validator("providers")
    @classmethod
    def _well_formed_providers(cls, value: dict[str, str]) -> dict[str, str]:
        for name, url in value.items():
            if not name or "/" in name or name in BUILT_IN_PROVIDERS:
                raise ValueError(f"{name!r} cannot be a provider's name: it is empty, contains a slash, or is in use")
            try:
                _check_url(url, HTTP_SCHEMES)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return value

    @field_validator("apps")
    @classmethod
    def _well_formed_apps(cls, value: dict[str, str]) -> dict[str, str]:
        for name, path in value.items():
            if not name:
                raise ValueError(f"the app {path!r} has no name")
            if not APP_PATH.fullmatch(path):
                raise ValueError(f"{name}: {path!r} is not `module:function`, as in shop.agent:answer")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _well_formed_origins(cls, value: str) -> str:
        for origin in listed(value):
            if origin != "*" and not ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin} is not an origin: write `https://host`, `https://host:port` or `*` for all")
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _well_formed_hosts(cls, value: str) -> str:
        for host in listed(value):
            if not HOST.fullmatch(host):
                raise ValueError(f"{host} is not a host's name: write it without a scheme and a port")
        return value

    def why_not_listen(self) -> str | None:
        """Return why a broker must not listen with these settings, or None. A worker listens to nothing."""
        if self.host in LOOPBACK_HOSTS:
            return None
        reachable = f"{PREFIX}HOST={self.host} is reachable from other machines"
        if self.is_open:
            return f"{reachable}: set {PREFIX}API_KEYS or {PREFIX}KEYS_FILE; `midstream keys new` makes a key"
        short = sorted({tenant for key, tenant in self.tenants_by_key.items() if len(key) < MIN_KEY_CHARS})
        if short:
            return (
                f"{reachable}: {PREFIX}API_KEYS has keys of less than {MIN_KEY_CHARS} characters "
                f"(of {', '.join(short)}); `midstream keys new` makes one that cannot be guessed"
            )
        return None

    @property
    def longest_life_s(self) -> float:
        """How long a stream may be queued and running, at most."""
        return self.queue_timeout_s + self.max_attempts * self.generation_timeout_s

    @property
    def longest_idle_s(self) -> float:
        """The longest silence of a source that any request can get, in seconds."""
        return max(self.idle_timeout_s, self.max_idle_timeout_s)

    @cached_property
    def own_hosts(self) -> frozenset[str]:
        """The names of `allowed_hosts`, in small letters."""
        return frozenset(host.lower() for host in listed(self.allowed_hosts))

    @cached_property
    def allowed_origins(self) -> tuple[str, ...]:
        """The other origins whose pages may use the broker; `*` stands for all."""
        return listed(self.cors_origins)


def _check_url(url: str, schemes: tuple[str, ...]) -> None:
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


def variable_of(name: str) -> str:
    """Return the environment variable of a setting."""
    alias = Settings.model_fields[name].validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else f"{PREFIX}{name.upper()}"
