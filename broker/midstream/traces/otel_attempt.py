"""The spans of one attempt: its wait in the queue, its claim, its calls, its end (PROTOCOL: Traces/Spans)."""

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, set_span_in_context, use_span

from midstream.log.keys import id_of, tenant_of
from midstream.log.owners import worker_of
from midstream.log.state import State
from midstream.traces.span_ids import attempt_id
from midstream.traces.spans import NS_PER_MS, Facts, Spans, fail
from midstream.traces.tracing import AttemptTrace, CallReport, CallTrace

NS_PER_S: Final = 1_000_000_000
OPERATION: Final = "chat"
CANCELLED: Final = "cancelled"
LARGEST: Final = 2**63 - 1
"""What OTLP has room for in a figure; a larger one is somebody's mischief."""
ID_CHARS: Final = 256
APP: Final = "app"
IN_PROCESS: Final = (APP, "demo")
"""Providers whose models run in the worker itself."""
PARAMS: Final[dict[str, tuple[str, Any]]] = {
    "max_tokens": ("max_tokens", int),
    "max_output_tokens": ("max_tokens", int),
    "max_completion_tokens": ("max_tokens", int),
    "temperature": ("temperature", int | float),
    "top_p": ("top_p", int | float),
    "top_k": ("top_k", int),
    "frequency_penalty": ("frequency_penalty", int | float),
    "presence_penalty": ("presence_penalty", int | float),
    "seed": ("seed", int),
}
"""Params that are figures, by the names and types of the conventions. All others may hold what somebody wrote."""


class OtelAttempt(AttemptTrace):
    """One attempt. Its times are of the server's clock, as far as its claim told it.

    Args:
        spans: Those of this process.
        stream_id: The stream's name.
        state: Its state at the claim.
        context: The context of the stream's start.
        claim_s: How long the claim took.
    """

    def __init__(self, spans: Spans, stream_id: str, state: State, context: Context, claim_s: float) -> None:
        claimed_ns = state.started_ms * NS_PER_MS
        self._from_monotonic_ns = claimed_ns - time.monotonic_ns()
        self._spans = spans
        self._state = state
        self._facts = facts_of(stream_id, state)
        self._is_kept = False
        began_ns = claimed_ns - round(claim_s * NS_PER_S)
        spans.tell("queue", context, state.queued_ms * NS_PER_MS, began_ns, self._facts)
        self._span = spans.begin(
            "attempt",
            context,
            kind=SpanKind.CONSUMER,
            begin_ns=began_ns,
            facts=self._facts | worker_fact(state),
            span_id=attempt_id(state.trace, state.epoch),
        )
        self._within = set_span_in_context(self._span, context)
        spans.tell("claim", self._within, began_ns, claimed_ns, self._facts)

    @property
    def _now_ns(self) -> int:
        return max(0, self._from_monotonic_ns + time.monotonic_ns())

    def call(self, params: Mapping[str, Any], *, is_new: bool) -> CallTrace:
        """Tell of a call by the GenAI conventions, without content."""
        provider, _, model = self._state.model.partition("/")
        facts: Facts = self._facts | {
            "gen_ai.operation.name": OPERATION,
            "gen_ai.provider.name": provider,
            "gen_ai.request.model": model,
            "gen_ai.request.stream": True,
            "midstream.call": "new" if is_new else "reattached",
        }
        for name, (attribute, kind) in PARAMS.items():
            value = params.get(name)
            if isinstance(value, kind) and not isinstance(value, bool) and abs(value) < LARGEST:
                facts[f"gen_ai.request.{attribute}"] = value
        kind_of_span = SpanKind.INTERNAL if provider in IN_PROCESS else SpanKind.CLIENT
        name = f"{OPERATION} {model}"
        span = self._spans.begin(name, self._within, kind=kind_of_span, begin_ns=self._now_ns, facts=facts)
        return OtelCall(self, span, is_app=provider == APP)

    def first_entry(self, first_ms: int) -> None:
        """Tell when the first entry came."""
        self._span.add_event("first_entry", timestamp=max(0, first_ms) * NS_PER_MS)

    def sealed(self, outcome: str, code: str, began_s: float, sealed_s: float) -> None:
        """Tell how the stream ended."""
        self._is_kept = True
        began_ns, sealed_ns = (self._from_monotonic_ns + round(at_s * NS_PER_S) for at_s in (began_s, sealed_s))
        facts = self._facts | {"midstream.outcome": outcome}
        self._spans.tell("end", self._within, began_ns, sealed_ns, facts, code)
        self._span.set_attribute("midstream.outcome", outcome)
        if code:
            fail(self._span, code)

    def released(self) -> None:
        """Tell that the stream was given back."""
        self._is_kept = True
        self._span.set_attribute("midstream.released", True)  # noqa: FBT003 - an attribute's value

    def end(self) -> None:
        """Tell that the attempt is over."""
        if not self._is_kept:
            fail(self._span, "lost")
        self._span.end(self._now_ns)

    def end_call(self, span: Span) -> None:
        """End the span of a call by this attempt's clock."""
        span.end(self._now_ns)


class OtelCall(CallTrace):
    """The span of one call."""

    def __init__(self, attempt: OtelAttempt, span: Span, *, is_app: bool) -> None:
        self._attempt = attempt
        self._span = span
        self._is_app = is_app

    def around(self) -> AbstractContextManager[object]:
        """Make the span OpenTelemetry's current one where the model is the user's own code, and there alone.

        The SDKs of providers would send the current span's context to the provider.
        """
        if not self._is_app:
            return nullcontext()
        return use_span(self._span, end_on_exit=False, record_exception=False, set_status_on_exception=False)

    def end(self, report: CallReport) -> None:
        """Tell that the call has ended. One that was cancelled has not failed."""
        facts: Facts = {f"gen_ai.usage.{name}": min(number, LARGEST) for name, number in report.tokens.items()}
        if report.upstream_id:
            facts["gen_ai.response.id"] = report.upstream_id[:ID_CHARS]
        if report.finish_reason is not None:
            facts["gen_ai.response.finish_reasons"] = [report.finish_reason]
        if report.first_chunk_s is not None:
            facts["gen_ai.response.time_to_first_chunk"] = report.first_chunk_s
        self._span.set_attributes(facts)
        if report.error_type == CANCELLED:
            self._span.set_attribute("error.type", CANCELLED)
        elif report.error_type:
            fail(self._span, report.error_type)
        self._attempt.end_call(self._span)


def facts_of(stream_id: str, state: State) -> Facts:
    """Return what every span tells of its stream; `stream_id` is the stream's name."""
    facts: Facts = {"midstream.stream.id": id_of(stream_id), "midstream.tenant": tenant_of(stream_id)}
    if state.thread:
        facts["gen_ai.conversation.id"] = state.thread
    if state.epoch:
        facts["midstream.attempt"] = state.epoch
    return facts


def worker_fact(state: State) -> Facts:
    """Return which worker an attempt is of, by the name that operators know."""
    worker = worker_of(state.owner)
    return {"midstream.worker": worker} if worker else {}
