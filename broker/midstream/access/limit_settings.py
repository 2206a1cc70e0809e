"""The settings that bound what one tenant and one user may take; `midstream.settings` holds them with all others.

A limit's setting is named after whom it bounds and what it counts, as a refusal names both (PROTOCOL: Limits/Starts).
"""

from pydantic import Field
from pydantic_settings import BaseSettings


class LimitSettings(BaseSettings):
    """What one tenant and one user may start; 0 stands for no limit, and then nothing is counted."""

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
