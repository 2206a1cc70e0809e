"""The settings of what is done when a stream ends; `midstream.settings` holds them with all others."""

import re
from pathlib import Path
from typing import Final

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

FUNCTION: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
KEPT_LONGER_MS: Final = 86_400_000
"""How much longer than it is tried an end is kept: so long one that was abandoned can be sent again."""


class EndsSettings(BaseSettings):
    """Where ends go: to webhooks, and to a function of the operator's."""

    webhooks_file: Path | None = Field(
        default=None,
        description="file that names the receivers of webhooks, by tenant, and their secrets; read again if it changes",
    )
    webhook_timeout_s: float = Field(
        default=15.0, gt=0, le=300, description="longest time that a webhook's receiver gets for its answer"
    )
    webhook_text_bytes: int = Field(
        default=262_144, ge=1, le=16_777_216, description="a webhook holds no text that is longer than this"
    )
    on_end: str = Field(
        default="",
        description="`module:async_function` of yours that the workers call with each stream that has ended",
    )
    on_end_timeout_s: float = Field(
        default=60.0, gt=0, le=3_600, description="longest time that a call of this function may take"
    )
    outbox_ends: int = Field(
        default=100_000,
        ge=1,
        le=10_000_000,
        description="most ends that wait for a receiver or the function; further ones are lost to it",
    )
    end_deliveries: int = Field(
        default=8,
        ge=1,
        le=1_000,
        description="most webhooks to one receiver, or calls of the function, that a process has under way",
    )
    end_retry_ms: int = Field(
        default=5_000, ge=10, description="delay after which a webhook or call that failed is tried again; it doubles"
    )
    end_retry_most_s: float = Field(default=3_600.0, gt=0, le=86_400, description="longest delay between two tries")
    end_give_up_s: int = Field(
        default=259_200,
        ge=1,
        le=2_592_000,
        description="a webhook or call that still fails so long after the end of its stream is given up",
    )

    @field_validator("on_end")
    @classmethod
    def _well_formed_on_end(cls, value: str) -> str:
        if value and not FUNCTION.fullmatch(value):
            raise ValueError(f"{value!r} is not `module:function`, as in shop.answers:save")
        return value

    @property
    def ends_keep_ms(self) -> int:
        """How long an end is kept for those that have not taken it."""
        return self.end_give_up_s * 1000 + KEPT_LONGER_MS
