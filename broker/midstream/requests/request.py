"""What a client asks for: the body of `POST /v1/streams`, and what a worker reads back from the log."""

import re
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationInfo, field_validator, model_validator

from midstream.log.state import EXTERNAL
from midstream.requests.summaries import opened

WorkerLossPolicy = Literal["auto", "reattach", "interrupt", "continue", "restart"]

UNNAMED: Final = f"{EXTERNAL}/producer"
EXTERNAL_MODEL: Final = re.compile(rf"{EXTERNAL}/[A-Za-z0-9._-]{{1,64}}")

RetryPolicy = Literal["never", "safe", "ambiguous"]

IfActive = Literal["join", "cancel", "queue", "reject"]

Metadata = dict[Annotated[str, StringConstraints(max_length=64)], Annotated[str, StringConstraints(max_length=512)]]


class UnfitRequestError(ValueError):
    """The request is well-formed, but cannot be done here; `at` is the place in it that does not fit."""

    at = "body"


class UnwritableRequestError(UnfitRequestError):
    """The request holds text that is no Unicode: a lone surrogate, which JSON can escape but nothing can store."""


class IdleTimeoutError(UnfitRequestError):
    """The request would wait for a silent source for longer than the settings allow."""

    at = "idle_timeout_s"


class GenerationTimeoutError(UnfitRequestError):
    """The request would run for longer than the settings allow."""

    at = "generation_timeout_s"


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
    mode: Literal["word", "sentence"] | None = Field(
        default=None, description="What an entry of text does not divide; neither divides a character."
    )


class Trim(BaseModel):
    """How much of a conversation is sent when a start goes on with its thread; see `requests/continuation.py`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_messages: int | None = Field(default=None, ge=1, description="The most messages.")
    max_chars: int | None = Field(default=None, ge=1, description="The most characters of the messages as JSON.")
    max_tokens: int | None = Field(
        default=None, ge=1, description="The most tokens of the messages as JSON; needs `MIDSTREAM_TOKENIZER`."
    )


class GenerationRequest(BaseModel):
    """One generation to run: which model, what to say to it, and how its stream behaves."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    producer: Literal["external"] | None = Field(
        default=None,
        description="`external`: the program that starts the stream appends to it, and no worker runs a model.",
    )
    model: str | None = Field(
        default=None,
        max_length=200,
        description="`provider/name`. Without it the broker's default model is used. Of an external producer it is a "
        "name of your own after `external/`.",
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
        description="Longest silence of the source, in seconds. By default that of the app, or of the settings.",
    )
    generation_timeout_s: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Longest time of the whole generation, in seconds. By default that of the app, or of the settings.",
    )
    thread: str | None = Field(
        default=None, max_length=200, description="The conversation that the stream belongs to, for lists."
    )
    continue_thread: bool | None = Field(
        default=None, description="`true`: send the conversation of the thread so far before the prompt."
    )
    if_active: IfActive | None = Field(
        default=None,
        description="What to do if a stream of the thread has not ended: `join` it, `cancel` it and start, `queue` to "
        "start after it, or `reject` this start. By default streams of a thread run side by side.",
    )
    trim: Trim | None = Field(default=None, description="How much is sent with `continue_thread`.")
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
        if self.producer == EXTERNAL and self.input is None and self.messages is None:
            return self  # nobody here needs to know what its producer answers
        if (self.input is None) == (self.messages is None):
            raise ValueError("give exactly one of `input` and `messages`")
        if not (self.input or self.messages):
            raise ValueError("the prompt is empty")
        self.as_messages()  # a summary that cannot be read is refused where it comes in
        return self

    @model_validator(mode="after")
    def _goes_on_with_a_thread(self) -> Self:
        if self.continue_thread and (not self.thread or self.producer == EXTERNAL):
            raise ValueError("`continue_thread` needs a `thread`, and is not for external producers")
        if self.if_active and (not self.thread or self.producer == EXTERNAL):
            raise ValueError("`if_active` needs a `thread`, and is not for external producers")
        if self.if_active == "queue" and self.continue_thread:
            raise ValueError(
                "with `continue_thread` a start cannot `queue`: it would miss the answers that it waits for"
            )
        if self.trim is not None and not self.continue_thread:
            raise ValueError("`trim` needs `continue_thread`")
        return self

    @field_validator("model")
    @classmethod
    def _own_name(cls, model: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("producer") == EXTERNAL and not EXTERNAL_MODEL.fullmatch(model or UNNAMED):
            raise ValueError("the name of an external producer is `external/` and up to 64 letters, digits, . - and _")
        return model

    @property
    def label(self) -> str:
        """What an external stream has for a model."""
        return self.model or UNNAMED

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
