"""The settings that bound what a tenant, a user and a stream may take; `midstream.settings` holds them with all others.

A limit's setting is named after whom it bounds and what it counts, as a refusal names both (PROTOCOL: Limits/Starts).
"""

from pydantic import Field
from pydantic_settings import BaseSettings


class LimitSettings(BaseSettings):
    """What a tenant, a user and a stream may take; 0 stands for no limit, and then nothing is counted in Redis."""

    tenant_starts_per_minute: int = Field(
        default=6_000, ge=0, le=6_000_000, description="most generations that a tenant starts in a minute; 0: no limit"
    )
    user_starts_per_minute: int = Field(
        default=600, ge=0, le=6_000_000, description="most generations that a user starts in a minute; 0: no limit"
    )
    starts_burst_s: float = Field(
        default=10.0, gt=0, le=60, description="the starts that these limits allow in this time may come at once"
    )
    tenant_generations: int = Field(
        default=1_000, ge=0, description="most generations of a tenant that are queued or running; 0: no limit"
    )
    user_generations: int = Field(
        default=100, ge=0, description="most generations of a user that are queued or running; 0: no limit"
    )
    tenant_tails: int = Field(
        default=20_000, ge=0, description="most tails of a tenant that one broker process holds open; 0: no limit"
    )
    stream_tails: int = Field(
        default=10_000, ge=0, description="most tails of a stream that one broker process holds open; 0: no limit"
    )
    max_ttl_s: int = Field(
        default=31_536_000, ge=1, le=31_536_000, description="largest `ttl_s` that a request may set; a year at most"
    )
