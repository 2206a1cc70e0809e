"""The settings by which Redis is reached: the road to the log, and that to the queue; `midstream.settings` has all.

The roads lead to the same server unless `queue_redis_url` names another one (PROTOCOL: Queue/Road).
"""

from typing import Final, Self
from urllib.parse import quote, urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings

from midstream.access.provider_settings import check_url
from midstream.redis_address import CLUSTER_SCHEMES, SENTINEL_SCHEMES, ClusterAddress, SentinelAddress

REDIS_SCHEMES: Final = ("redis", "rediss", "unix", *SENTINEL_SCHEMES, *CLUSTER_SCHEMES)
_QUEUE: Final = "it needs a plain or Sentinel-managed server: redis://… or redis+sentinel://…"
PASSWORDS: Final = {"redis_url": "redis_password", "queue_redis_url": "queue_redis_password"}


class RedisSettings(BaseSettings):
    """Addresses and bounds of both roads.

    Raises:
        pydantic.ValidationError: A value does not parse or is out of range; it names the variable.
    """

    redis_url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"),
        description="address of the Redis or Valkey server that holds the log, or of its Sentinels: "
        "`redis+sentinel://host:26379,…/<service>/<db>`, or of a cluster: `redis+cluster://host:6379,…`",
    )
    redis_password: SecretStr = Field(
        default=SecretStr(""), description="password of that server, where the address has none"
    )
    queue_redis_url: SecretStr = Field(
        default=SecretStr(""),
        description="address of the Redis or Valkey server that holds the queue; empty: the log's. "
        "Beside a cluster it MUST be set, and lead to none",
    )
    queue_redis_password: SecretStr = Field(
        default=SecretStr(""), description="password of the queue's server, where the address has none"
    )
    key_prefix: str = Field(default="ms", pattern=r"^[A-Za-z0-9_-]{1,32}$", description="first part of every key")
    redis_timeout_s: float = Field(default=5.0, gt=0, le=60, description="longest wait for a reply of Redis")
    redis_connections: int = Field(default=16, ge=2, le=1_000, description="most connections of a process to Redis")

    @field_validator("redis_url", "queue_redis_url")
    @classmethod
    def _redis_url(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        url = value.get_secret_value()
        if not url and info.field_name == "queue_redis_url":
            return value
        if SentinelAddress.of(url) is not None:
            return value
        if ClusterAddress.of(url) is not None:
            if info.field_name == "queue_redis_url":
                raise ValueError(f"the queue cannot be on a cluster, because arq knows none; {_QUEUE}")
            return value
        check_url(url, REDIS_SCHEMES)
        parts = urlsplit(url)
        database = parts.path.strip("/")
        if parts.scheme != "unix" and database and not database.isdecimal():  # redis-py would read it as 0
            raise ValueError("the part after the host must be the number of a database, as in redis://host:6379/0")
        return value

    @model_validator(mode="after")
    def _one_password_each(self) -> Self:
        prefix = str(self.model_config.get("env_prefix", ""))
        for url_name, password_name in PASSWORDS.items():
            url: SecretStr = getattr(self, url_name)
            password: SecretStr = getattr(self, password_name)
            if password.get_secret_value() and urlsplit(url.get_secret_value()).password:
                names = f"{prefix}{url_name.upper()} and {prefix}{password_name.upper()}"
                raise ValueError(f"{names} both hold a password: leave one out")
        return self

    @model_validator(mode="after")
    def _queue_beside_a_cluster(self) -> Self:
        is_cluster = ClusterAddress.of(self.redis_url.get_secret_value()) is not None
        if is_cluster and not self.queue_redis_url.get_secret_value():
            names = [f"{self.model_config.get('env_prefix', '')}{name}_URL" for name in ("REDIS", "QUEUE_REDIS")]
            raise ValueError(f"{names[0]} leads to a cluster, so {names[1]} has to lead to the queue; {_QUEUE}")
        return self

    @property
    def redis_address(self) -> str:
        """The URL of the log's server, with the password."""
        return _with_password(self.redis_url, self.redis_password)

    @property
    def queue_address(self) -> str:
        """The URL of the queue's server, with the password; the log's if no other one is named."""
        if not self.queue_redis_url.get_secret_value():
            return self.redis_address
        return _with_password(self.queue_redis_url, self.queue_redis_password)


def _with_password(secret_url: SecretStr, secret_password: SecretStr) -> str:
    url, password = secret_url.get_secret_value(), secret_password.get_secret_value()
    if not password:
        return url
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user.rstrip(':')}:{quote(password, safe='')}@{host}").geturl()
