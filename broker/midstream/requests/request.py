"""What a client asks for: the body of `POST /v1/streams`, and what a worker reads back from the log."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from midstream.requests.summaries import opened

WorkerLossPolicy = Literal["auto", "reattach", "interrupt", "continue", "restart"]

RetryPolicy = Literal["never", "safe", "ambiguous"]

Metadata = dict[Annotated[str, StringConstraints(max_length=64)], Annotated[str, StringConstraints(max_length=512)]]


class UnfitRequestError(ValueError):
    """The request is well-formed, but cannot be done here; `at` is the place in it that does not fit."""

    at = "body"


class UnwritableRequestError(UnfitRequestError):
    """The request holds text that is no Unicode: a lone surrogate, which JSON can escape but nothing can store."""


class IdleTimeoutError(UnfitRequestError):
    """The request would wait for a silent source for longer than the settings allow."""

    at = "idle_timeout_s"


class Chunking(BaseModel):
    """How deltas are batched into entries; unset fields take the worker's settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    flush_ms: int | None = Field(default=None, ge=0, le=5_000, description="longest wait of a delta, in ms")
    flush_bytes: int | None = Field(default=None, ge=1, le=65_536, description="size that flushes at once")


class GenerationRequest(BaseModel):
    """One generation to run: which model, what to say to it, and how its stream behaves."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(default=None, max_length=200, description="`provider/name`; default: the best available")
    input: str | list[dict[str, Any]] | None = Field(default=None, description="a prompt, or input items")
    messages: list[dict[str, Any]] | None = Field(default=None, description="chat messages with role and content")
    params: dict[str, Any] = Field(default_factory=dict, description="passed on to the provider as they are")
    chunking: Chunking = Chunking()
    on_worker_loss: WorkerLossPolicy = Field(
        default="auto", description="`auto` is `reattach` where the provider can, else `interrupt`"
    )
    retry: RetryPolicy = Field(
        default="safe",
        description="failures before the first delta: `safe` repeats what was surely not billed, `ambiguous` also "
        "what may have been (it can cost a second time), `never` nothing",
    )
    idle_timeout_s: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="longest silence of the source; default: the worker's"
    )
    thread: str | None = Field(default=None, max_length=200, description="groups streams for listing")
    metadata: Metadata = Field(default_factory=dict, max_length=16)
    ttl_s: int | None = Field(default=None, ge=1, le=31_536_000, description="kept this long after its end")

    @model_validator(mode="after")
    def _exactly_one_prompt(self) -> Self:
        if (self.input is None) == (self.messages is None):
            raise ValueError("give exactly one of `input` and `messages`")
        if not (self.input or self.messages):
            raise ValueError("the prompt is empty")
        self.as_messages()  # a summary that cannot be read is refused where it comes in
        return self

    def as_items(self) -> list[dict[str, Any]]:
        """Return the prompt as it was given; a plain `input` is one user message."""
        if self.messages is not None:
            return self.messages
        if isinstance(self.input, str):
            return [{"role": "user", "content": self.input}]
        return list(self.input or [])

    def as_messages(self) -> list[dict[str, Any]]:
        """Return the prompt as chat messages: summaries of ours in words."""
        return [opened(item) for item in self.as_items()]
