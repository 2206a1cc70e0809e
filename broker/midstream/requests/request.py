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


class TtlError(UnfitRequestError):
    """The request would keep its stream for longer than the settings allow."""

    at = "ttl_s"


class UserError(UnfitRequestError):
    """The request names another user than its credential does."""

    at = "user"


class Chunking(BaseModel):
    """How deltas are batched into entries. Fields that are not set are those of the worker's settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    flush_ms: int | None = Field(
        default=None, ge=0, le=5_000, description="Longest time that a delta waits for its batch, in milliseconds."
    )
    flush_bytes: int | None = Field(
        default=None, ge=1, le=65_536, description="Size at which a batch is written at once, in bytes."
    )


class GenerationRequest(BaseModel):
    """One generation to run: which model, what to say to it, and how its stream behaves."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(
        default=None, max_length=200, description="`provider/name`. Without it the broker's default model is used."
    )
    input: str | list[dict[str, Any]] | None = Field(default=None, description="A prompt, or input items.")
    messages: list[dict[str, Any]] | None = Field(default=None, description="Chat messages with role and content.")
    params: dict[str, Any] = Field(default_factory=dict, description="Parameters that are passed on to the provider.")
    chunking: Chunking = Chunking()
    on_worker_loss: WorkerLossPolicy = Field(
        default="auto",
        description="What to do if the worker is lost. `auto`: `reattach` if the provider can, else `interrupt`.",
    )
    retry: RetryPolicy = Field(
        default="safe",
        description="Which failures before the first delta are tried again. `safe`: those that were surely not billed; "
        "`ambiguous`: also those that may have been, so a second call may be paid; `never`: none.",
    )
    idle_timeout_s: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Longest silence of the source, in seconds. By default that of the settings.",
    )
    thread: str | None = Field(
        default=None, max_length=200, description="The conversation that the stream belongs to, for lists."
    )
    user: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="Whose stream it is; only a key of the whole tenant may name one.",
    )
    metadata: Metadata = Field(default_factory=dict, max_length=16)
    ttl_s: int | None = Field(
        default=None, ge=1, le=31_536_000, description="How long the stream is kept after its end, in seconds."
    )

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
