"""What a process tells of streams as spans, and what it does where traces are off: nothing (PROTOCOL: Traces).

These classes make no spans, import nothing of OpenTelemetry, and are what a process uses without its variables. Those
in `otel_tracing.py` and `otel_attempt.py` have the same methods.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from midstream.log.state import State


@dataclass(slots=True)
class CallReport:
    """What is known of a call when it has ended.

    Attributes:
        upstream_id: The provider's id of the answer; empty: it has sent none.
        finish_reason: Why the model stopped; None: it did not report that.
        first_chunk_s: How long after the request the first chunk came; None: none came.
        tokens: Counted tokens by the names of the conventions, without `gen_ai.usage.`.
        error_type: What went wrong, as a code of PROTOCOL; `cancelled` if the call was stopped; empty: nothing.
    """

    upstream_id: str = ""
    finish_reason: str | None = None
    first_chunk_s: float | None = None
    tokens: Mapping[str, int] = field(default_factory=dict)
    error_type: str = ""


class CallTrace:
    """One call of a provider."""

    def around(self) -> AbstractContextManager[object]:
        """Return a context inside which spans of the user's own code belong to the call."""
        return nullcontext()

    def end(self, report: CallReport) -> None:
        """Tell that it has ended."""


class AttemptTrace:
    """One attempt of a worker, from before its claim to its end."""

    def call(self, params: Mapping[str, Any], *, is_new: bool) -> CallTrace:
        """Tell that a provider is called with these params, or that an answer is read on that was called before."""
        del params, is_new
        return NO_CALL

    def first_entry(self, first_ms: int) -> None:
        """Tell when the first entry came, in ms by the server's clock."""

    def sealed(self, outcome: str, code: str, began_s: float, sealed_s: float) -> None:
        """Tell that the attempt has ended the stream: from when to when, by the monotonic clock."""

    def released(self) -> None:
        """Tell that the stream was given back to the queue."""

    def end(self) -> None:
        """Tell that the attempt is over; if neither sealed nor released its stream, it has lost it."""


class StartTrace:
    """One start, inside a `with` block.

    Attributes:
        context: What the stream's state keeps of it, so that every process goes on in the same trace: a `traceparent`;
            empty: nothing.
    """

    context = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        """Tell that the start is over."""

    def began(self, stream_id: str, state: State, *, is_new: bool, linked: str = "") -> None:
        """Tell which stream it began, or joined; `linked` is the context of another trace that belongs to it."""


class Tracing:
    """The spans of one process."""

    def start(self, parent: bytes) -> StartTrace:
        """Return the trace of a start; `parent` is the caller's `traceparent`, which need not be a good one."""
        del parent
        return NO_START

    def attempt(self, stream_id: str, state: State, claim_s: float) -> AttemptTrace:
        """Return the trace of the attempt that has just claimed a stream, which took `claim_s`."""
        del stream_id, state, claim_s
        return NO_ATTEMPT

    def reaped(self, stream_id: str, state: State, now_ms: int, verdict: str, outcome: str = "") -> None:
        """Tell what a reaper did.

        Args:
            stream_id: The stream's name.
            state: Its state before.
            now_ms: The server's time.
            verdict: What was done, as the metrics name it: `requeued`, or the code of the end.
            outcome: The outcome of the stream; empty: it goes on.
        """

    def ended(self, stream_id: str, state: State, outcome: str, code: str = "") -> None:
        """Tell that this process has just ended a stream, not as its worker; `state` is the one before."""

    async def stop(self) -> None:
        """Send what is left, for a bounded time."""


NO_CALL: Final = CallTrace()
NO_ATTEMPT: Final = AttemptTrace()
NO_START: Final = StartTrace()
NO_TRACES: Final = Tracing()
