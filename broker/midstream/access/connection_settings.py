"""The settings that bound what anybody may send before a credential is looked at; `midstream.settings` holds them all.

They hold for strangers and for clients with a key alike, because nobody knows yet which of the two it is.
"""

from ipaddress import ip_network

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings


class ConnectionSettings(BaseSettings):
    """Numbers of connections; sizes and times of heads, bodies and first messages.

    Raises:
        pydantic.ValidationError: A value does not parse or is out of range; it names the variable.
    """

    max_connections: int = Field(
        default=0,
        ge=0,
        description="most connections that a process takes; 0: 256 fewer than it may open files",
    )
    max_address_connections: int = Field(
        default=0,
        ge=0,
        description="most connections of one address; those of loopback and of `trusted_proxies` are not counted; 0: a "
        "quarter of `max_connections`",
    )
    max_strangers: int = Field(
        default=16_384,
        ge=1,
        description="most connections that have sent no whole request, or a socket without a key (a quarter of them); "
        "beyond it those that have waited longest are closed",
    )
    trusted_proxies: str = Field(
        default="", description="`10.0.0.5,10.1.0.0/16`: addresses and networks of the proxies that clients come by"
    )
    max_head_bytes: int = Field(default=65_536, ge=4_096, description="largest head of a request, with its URL")
    head_timeout_ms: int = Field(default=10_000, ge=100, description="longest time for the head of a request to arrive")
    max_body_bytes: int = Field(
        default=33_554_432, ge=1_024, description="largest body of a request, and largest message of a WebSocket"
    )
    max_bodies_bytes: int = Field(
        default=268_435_456,
        ge=1_024,
        description="most bytes of bodies that a process holds at once; a parsed one takes about three times its size",
    )
    body_timeout_ms: int = Field(
        default=30_000,
        ge=100,
        description="in each such time the rest of a body arrives, or as much as `min_body_bytes_per_s` asks for",
    )
    min_body_bytes_per_s: int = Field(default=1_024, ge=1, description="least rate at which a long body arrives")
    max_depth: int = Field(default=64, ge=8, le=128, description="deepest nesting of a request body")
    ws_auth_s: float = Field(default=10.0, gt=0, description="longest wait for the key of a WebSocket")
    ws_auth_bytes: int = Field(default=4_096, ge=256, description="largest message of a WebSocket before its key")

    @field_validator("trusted_proxies")
    @classmethod
    def _well_formed_proxies(cls, value: str) -> str:
        for each in filter(None, map(str.strip, value.split(","))):
            try:
                ip_network(each)
            except ValueError as error:
                raise ValueError(f"{error}: list addresses and networks, as in 10.0.0.5,10.1.0.0/16") from None
        return value
