"""The settings that bound what a tenant, a user and a stream may take; `midstream.settings` holds them with all others.

A limit's setting is named after whom it bounds and what it counts, as a refusal names both (PROTOCOL: Limits/Starts).
"""

from typing import Final

from pydantic import Field
from pydantic_settings import BaseSettings

MOST: Final = 10**15
"""Larger figures than any limit needs: they stay exact in Lua, whose numbers have 53 bits."""
LONGEST_S: Final = 1_000_000_000
"""The longest retention: 31 years, which every command of Redis takes in ms."""
_OF_OUTCOME: Final = "how long a stream that ended {} is kept; 0: as `retention_s` says"


class LimitSettings(BaseSettings):
    """What a tenant, a user and a stream may take; 0 is no limit where a description says so."""

    overload_queue_s: float = Field(
        default=60.0,
        ge=0,
        description="starts are refused while the oldest waiting generation has waited for longer; 0: never",
    )
    start_uncounted: bool = Field(
        default=False,
        description="generations are started even where Redis cannot say whether a limit is reached",
    )
    tenant_starts_per_minute: int = Field(
        default=6_000, ge=0, le=6_000_000, description="most generations that a tenant starts in a minute; 0: no limit"
    )
    user_starts_per_minute: int = Field(
        default=600, ge=0, le=6_000_000, description="most generations that a user starts in a minute; 0: no limit"
    )
    key_starts_per_minute: int = Field(
        default=0, ge=0, le=6_000_000, description="most generations that an API key starts in a minute; 0: no limit"
    )
    tenant_day_budget_cents: int = Field(
        default=0, ge=0, le=MOST, description="what a tenant may spend in a day, in hundredths of the currency; 0: any"
    )
    tenant_month_budget_cents: int = Field(
        default=0, ge=0, le=MOST, description="what a tenant may spend in a month, in hundredths; 0: any"
    )
    user_day_budget_cents: int = Field(
        default=0, ge=0, le=MOST, description="what a user may spend in a day, in hundredths of the currency; 0: any"
    )
    user_month_budget_cents: int = Field(
        default=0, ge=0, le=MOST, description="what a user may spend in a month, in hundredths; 0: any"
    )
    key_day_budget_cents: int = Field(
        default=0, ge=0, le=MOST, description="what an API key may spend in a day, in hundredths; 0: any"
    )
    key_month_budget_cents: int = Field(
        default=0, ge=0, le=MOST, description="what an API key may spend in a month, in hundredths; 0: any"
    )
    starts_burst_s: float = Field(
        default=10.0, gt=0, le=60, description="the starts that these limits allow in this time may come at once"
    )
    tenant_generations: int = Field(
        default=1_000, ge=0, le=MOST, description="most generations of a tenant that are queued or running; 0: no limit"
    )
    user_generations: int = Field(
        default=100, ge=0, le=MOST, description="most generations of a user that are queued or running; 0: no limit"
    )
    key_generations: int = Field(
        default=0, ge=0, le=MOST, description="most generations of an API key that are queued or running; 0: no limit"
    )
    tenant_stored_bytes: int = Field(
        default=4_294_967_296,
        ge=0,
        le=MOST,
        description="most bytes that are stored of a tenant's streams, as long as they are kept; 0: no limit",
    )
    tenant_tails: int = Field(
        default=20_000,
        ge=0,
        le=MOST,
        description="most tails of a tenant that one broker process holds open; 0: no limit",
    )
    stream_tails: int = Field(
        default=10_000,
        ge=0,
        le=MOST,
        description="most tails of a stream that one broker process holds open; 0: no limit",
    )
    tenant_waits: int = Field(
        default=2_000,
        ge=0,
        le=MOST,
        description="most requests of a tenant that wait for an answer in one broker process; 0: no limit",
    )
    tenant_sockets: int = Field(
        default=10_000,
        ge=0,
        le=MOST,
        description="most WebSockets of a tenant that one broker process holds open; 0: no limit",
    )
    tenant_bodies_bytes: int = Field(
        default=134_217_728,
        ge=0,
        le=MOST,
        description="most bytes of a tenant's bodies that one broker process holds at once; 0: no limit",
    )
    socket_messages_per_second: int = Field(
        default=200,
        ge=0,
        le=1_000_000,
        description="most messages of a WebSocket that are read in a second, others wait their turn; 0: no limit",
    )
    stream_entries: int = Field(
        default=200_000, ge=0, le=MOST, description="most entries in the log of a stream; 0: no limit"
    )
    thread_page_chars: int = Field(
        default=1_000_000,
        ge=1_000,
        le=MOST,
        description="a page of a thread's messages ends with the stream that makes it longer than this, in characters",
    )
    thread_context_chars: int = Field(
        default=200_000,
        ge=1_000,
        le=MOST,
        description="most characters of a conversation that a start with `continue_thread` sends, as JSON",
    )
    tokenizer: str = Field(
        default="",
        description="tiktoken's name of the encoding by which `trim.max_tokens` counts, as `o200k_base`; needs the "
        "extra `tokens`",
    )
    thread_waiting: int = Field(
        default=10,
        ge=1,
        le=MOST,
        description="most streams of a thread that wait for others of it to end, because of `if_active`",
    )
    retention_s: int = Field(default=86_400, ge=1, le=LONGEST_S, description="how long an ended stream is kept")
    completed_retention_s: int = Field(default=0, ge=0, le=LONGEST_S, description=_OF_OUTCOME.format("completed"))
    failed_retention_s: int = Field(default=0, ge=0, le=LONGEST_S, description=_OF_OUTCOME.format("failed"))
    cancelled_retention_s: int = Field(default=0, ge=0, le=LONGEST_S, description=_OF_OUTCOME.format("cancelled"))
    interrupted_retention_s: int = Field(default=0, ge=0, le=LONGEST_S, description=_OF_OUTCOME.format("interrupted"))
    max_ttl_s: int = Field(
        default=31_536_000, ge=1, le=31_536_000, description="largest `ttl_s` that a request may set; a year at most"
    )
