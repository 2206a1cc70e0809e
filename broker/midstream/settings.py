"""The settings: one frozen object that is read from the environment. Names end in their units.

Every field is read from `MIDSTREAM_<NAME>`, and a secret also from the file that `MIDSTREAM_<NAME>_FILE` names;
`midstream config` prints each with its meaning.
"""

import re
from functools import cached_property
from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from midstream.access import secret_files
from midstream.access.access_settings import LOOPBACK_HOSTS, AccessSettings, listed
from midstream.access.app_settings import AppSettings
from midstream.access.connection_settings import ConnectionSettings
from midstream.access.limit_settings import LimitSettings
from midstream.access.provider_settings import ProviderSettings
from midstream.access.redis_settings import RedisSettings
from midstream.access.timeout_settings import TimeoutSettings
from midstream.ends.ends_settings import EndsSettings
from midstream.journal.journal_settings import JournalSettings
from midstream.metrics.metrics_settings import MetricsSettings
from midstream.money.money_settings import MoneySettings
from midstream.traces.trace_settings import TraceSettings

PREFIX = "MIDSTREAM_"
OPEN_TENANT = "default"
MIN_KEY_CHARS = 32
"""Length of the shortest API key that a broker accepts if it listens beyond loopback."""
HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9a-fA-F:.]+")
"""A host's name, or an address; one of IPv6 without its brackets."""
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s*]+")


class Settings(
    RedisSettings,
    EndsSettings,
    AppSettings,
    ProviderSettings,
    JournalSettings,
    MetricsSettings,
    MoneySettings,
    TraceSettings,
    ConnectionSettings,
    LimitSettings,
    TimeoutSettings,
    AccessSettings,
):
    """All settings with their defaults.

    Raises:
        pydantic.ValidationError: A value does not parse or is out of range; it names the variable.
        SecretFileError: The file of a secret cannot be used.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    data_dir: Path = Field(default=Path(".midstream"), description="folder in which `midstream up` keeps its data")

    host: str = Field(default="127.0.0.1", description="address that the broker listens on")
    port: int = Field(default=8080, ge=0, le=65_535, description="port that the broker listens on")
    fast_path: str = Field(
        default="auto",
        pattern=r"^(auto|off)$",
        description="`auto`: tails write past the server to their connections, where the installed server is one that "
        "this was tested with; `off`: never",
    )
    gzip: bool = Field(
        default=False,
        description="compress event streams for clients that accept gzip; off, because proxies may hold back what is "
        "compressed, it takes CPU, and the size of an answer tells of secrets beside what a stranger wrote",
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
    acts_step_s: float = Field(
        default=10.0, gt=0, le=60, description="longest time of one request for an act on all streams of a search"
    )
    audit_entries: int = Field(
        default=10_000, ge=100, description="most acts of operators that the audit in Redis keeps; the oldest go first"
    )
    operators_read: bool = Field(
        default=True, description="operators may read what is in the streams of all tenants, not only what they are"
    )
    list_scan: int = Field(default=2_000, ge=100, description="most streams that a list with a filter looks at")
    find_streams: int = Field(
        default=200_000, ge=100, le=10_000_000, description="most streams that an operator can find: the newest ones"
    )
    find_idle_s: float = Field(
        default=86_400.0,
        gt=0,
        description="a broker that no operator has asked for so long forgets its table of streams (35 MiB for 100,000)",
    )
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
    broker_unready_ms: int = Field(
        default=0,
        ge=0,
        description="after SIGTERM a broker serves on for so long while `/readyz` is 503, so that proxies turn away",
    )
    broker_drain_ms: int = Field(
        default=5_000, ge=0, description="time over which a broker that stops spreads the partings from its tails"
    )
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
    max_output_bytes: int = Field(default=16_777_216, ge=1_024, description="most bytes in the log of a stream")
    max_provider_event_bytes: int = Field(
        default=8_388_608, ge=1_024, description="largest event or document in a provider's answer"
    )
    max_provider_answer_bytes: int = Field(
        default=268_435_456, ge=1_024, description="most bytes read of a provider's answer"
    )
    flush_ms: int = Field(default=15, ge=0, le=5_000, description="longest time that a delta waits for its batch")
    flush_bytes: int = Field(default=512, ge=1, le=65_536, description="a batch of this size is written at once")
    chunk_hold_ms: int = Field(
        default=5_000, ge=1, le=60_000, description="longest time that a part of a word or sentence waits for its rest"
    )
    chunk_hold_bytes: int = Field(
        default=4_096, ge=16, le=65_536, description="most bytes of a word or sentence that wait for its rest"
    )
    structured_bytes: int = Field(
        default=262_144, ge=1_024, description="longest answer in JSON that is parsed for `parsed` and `?partial=json`"
    )
    app_block_s: float = Field(
        default=60.0, ge=1, description="a worker whose event loop an app blocks for longer than this ends"
    )
    drain_s: float = Field(default=20.0, ge=0, description="time that a worker gives running generations after SIGTERM")
    retry_attempts: int = Field(default=3, ge=1, le=10, description="most calls of a provider before the first delta")

    archive_bytes: int = Field(
        default=68_719_476_736, ge=1_024, description="most bytes of an archive that is imported, uncompressed"
    )
    archive_line_bytes: int = Field(
        default=134_217_728, ge=1_024, description="longest line of an archive: the request of a stream, or an entry"
    )

    strict_openai: bool = Field(
        default=False,
        description="as OpenAI does: leaving a response that is not in the background cancels it, and it "
        "cannot be streamed again",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return where settings come from: arguments, files of secrets, variables."""
        return init_settings, secret_files.SecretFiles(settings_cls), env_settings

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
    def broker_stop_s(self) -> float:
        """How long a broker that was told to stop may serve on and part from its tails."""
        return (self.broker_unready_ms + self.broker_drain_ms) / 1_000

    @property
    def longest_life_s(self) -> float:
        """How long a stream may be queued and running, at most."""
        return self.queue_timeout_s + self.max_attempts * self.generation_timeout_s

    @cached_property
    def own_hosts(self) -> frozenset[str]:
        """The names of `allowed_hosts`, in small letters."""
        return frozenset(host.lower() for host in listed(self.allowed_hosts))

    @cached_property
    def named_models(self) -> tuple[str, ...]:
        """The names of `metrics_models`."""
        return listed(self.metrics_models)

    @cached_property
    def allowed_origins(self) -> tuple[str, ...]:
        """The other origins whose pages may use the broker; `*` stands for all."""
        return listed(self.cors_origins)


def variable_of(name: str) -> str:
    """Return the environment variable of a setting."""
    return secret_files.variable_of(name, Settings.model_fields[name], PREFIX)


def secret_variables() -> list[str]:
    """Return the variables of the settings that are secrets; each may be named with `_FILE` instead."""
    return [variable_of(name) for name, field in Settings.model_fields.items() if secret_files.is_secret(field)]
