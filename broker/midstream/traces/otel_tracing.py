"""The spans of starts, of a reaper's verdicts, and of ends that no worker wrote (PROTOCOL: Traces/Spans)."""

import time
from contextvars import Token
from types import TracebackType
from typing import Self

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, get_current_span, set_span_in_context
from opentelemetry.trace.span import format_trace_id

from midstream.journal.trace_ids import TRACE_ID
from midstream.log.state import State
from midstream.traces.otel_attempt import OtelAttempt, facts_of, worker_fact
from midstream.traces.span_ids import attempt_id
from midstream.traces.spans import NS_PER_MS, Spans, context_of, fail, traceparent_of
from midstream.traces.tracing import NO_ATTEMPT, AttemptTrace, StartTrace, Tracing

WORKER_LOST = "worker_lost"


class OtelTracing(Tracing):
    """Sends the spans of one process.

    Args:
        role: `broker` or `worker`.
        exit_s: How long `stop` waits for the collector.

    Raises:
        ValueError: A variable of OpenTelemetry cannot be used.
    """

    def __init__(self, role: str, exit_s: float) -> None:
        self._spans = Spans(role)
        self._exit_s = exit_s

    def start(self, parent: bytes) -> StartTrace:
        """Return the trace of a start, which goes on in the caller's own if `parent` is a `traceparent`."""
        return OtelStart(self._spans.begin("start", context_of(parent.decode("latin-1")), kind=SpanKind.SERVER))

    def attempt(self, stream_id: str, state: State, claim_s: float) -> AttemptTrace:
        """Return the trace of an attempt; log lines of this task, and of those that it makes, carry its id."""
        if not state.trace:
            return NO_ATTEMPT
        context = context_of(state.trace)
        TRACE_ID.set(_trace_id(context))
        return OtelAttempt(self._spans, stream_id, state, context, claim_s)

    def reaped(self, stream_id: str, state: State, now_ms: int, verdict: str, outcome: str = "") -> None:
        """Tell of the attempt that was lost, in its worker's stead, or of the wait in the queue, and of the verdict."""
        if not state.trace:
            return
        within, now_ns = context_of(state.trace), now_ms * NS_PER_MS
        facts = facts_of(stream_id, state)
        since_ms = state.queued_ms
        if state.status == "running":
            attempt = self._spans.begin(
                "attempt",
                within,
                kind=SpanKind.CONSUMER,
                begin_ns=state.started_ms * NS_PER_MS,
                facts=facts | worker_fact(state),
                span_id=attempt_id(state.trace, state.epoch),
            )
            fail(attempt, WORKER_LOST)
            attempt.end(max(now_ns, state.started_ms * NS_PER_MS))
            within, since_ms = set_span_in_context(attempt, within), state.lease_until_ms
        else:
            self._spans.tell("queue", within, since_ms * NS_PER_MS, now_ns, facts)
        self._spans.tell("verdict", within, since_ms * NS_PER_MS, now_ns, facts | {"midstream.verdict": verdict})
        if outcome:
            self._tell_end(stream_id, state, within, now_ns, outcome, "" if verdict == outcome else verdict)

    def ended(self, stream_id: str, state: State, outcome: str, code: str = "") -> None:
        """Tell of the end, and of the wait in the queue if no worker took the stream."""
        if state.trace:
            within, now_ns = context_of(state.trace), time.time_ns()
            if state.status == "queued":
                self._spans.tell("queue", within, state.queued_ms * NS_PER_MS, now_ns, facts_of(stream_id, state))
            self._tell_end(stream_id, state, within, now_ns, outcome, code)

    async def stop(self) -> None:
        """Send what is left, for a bounded time."""
        await self._spans.stop(self._exit_s)

    def _tell_end(self, stream_id: str, state: State, within: Context, at_ns: int, outcome: str, code: str) -> None:
        facts = facts_of(stream_id, state) | {"midstream.outcome": outcome}
        self._spans.tell("end", within, at_ns, at_ns, facts, code)


class OtelStart(StartTrace):
    """The span of one start."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self._within = set_span_in_context(span, Context())
        self.context = traceparent_of(self._within)
        self._token: Token[str] | None = None

    def __enter__(self) -> Self:
        """Have the log lines of this task carry the trace's id, until the start is over."""
        self._token = TRACE_ID.set(_trace_id(self._within))
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        """Tell that the start is over; of an error its class alone, because its message may quote the request."""
        if error is not None:
            fail(self._span, type(error).__name__)
        self._span.end()
        if self._token is not None:
            TRACE_ID.reset(self._token)

    def began(self, stream_id: str, state: State, *, is_new: bool, linked: str = "") -> None:
        """Tell which stream it began, or joined."""
        self._span.set_attributes(facts_of(stream_id, state) | {"midstream.start": "new" if is_new else "found"})
        if linked:
            self._span.add_link(get_current_span(context_of(linked)).get_span_context())


def _trace_id(context: Context) -> str:
    return format_trace_id(get_current_span(context).get_span_context().trace_id)
