"""Measures calls of sources, by the names of OpenTelemetry's GenAI conventions (PROTOCOL: Metrics/Calls)."""

import time
from asyncio import CancelledError
from types import TracebackType
from typing import Final, Self

from midstream import counters
from midstream.attempts.delta import Delta, Finish, SourceError, Usage
from midstream.counters import Distribution
from midstream.lifecycle.minute_counts import FIRST_CHUNK_BOUNDS_S
from midstream.requests.catalogue import available, split
from midstream.settings import Settings
from midstream.traces.tracing import CallReport

BOUNDS_S: Final = FIRST_CHUNK_BOUNDS_S
BOUNDS_TOKENS: Final = tuple(4.0**power for power in range(14))
"""The bounds that the conventions want: in seconds, and of tokens (1 to 67,108,864)."""
OTHER: Final = "other"


class CallTimes:
    """Measures one call inside a `with` block, from its request to its end.

    Args:
        model: The full name of the model.
        named: The models that have a name in the metrics.
        is_call: Whether a call is made; one that is read on was measured where it was made.

    Attributes:
        upstream_id: The provider's id of the answer; empty: it has sent none.
    """

    def __init__(self, model: str, named: frozenset[str], *, is_call: bool) -> None:
        provider, name = split(model)
        self._labels = ("chat", provider, name if model in named else OTHER)
        self._is_call = is_call
        self._began_s = time.monotonic()
        self._last_s = 0.0
        self._gaps: Distribution | None = None
        self._first_chunk_s: float | None = None
        self._usage: Usage | None = None
        self._error_type = ""
        self.upstream_id = ""

    def __enter__(self) -> Self:
        return self

    def note(self, delta: Delta) -> None:
        """Note that a delta has come, which is no `Upstream`."""
        if isinstance(delta, Usage):
            self._usage = delta
            self._note_tokens(input=delta.input_tokens, output=delta.output_tokens)
        elif not isinstance(delta, Finish):
            self._note_chunk()

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        self._error_type = _type_of(error)
        if self._is_call:
            took_s = time.monotonic() - self._began_s
            self._of("gen_ai_client_operation_duration_seconds", self._error_type).add(took_s)

    def report(self, finish_reason: str | None) -> CallReport:
        """Return what is known of the call after its end."""
        tokens = {} if self._usage is None else _tokens(self._usage)
        return CallReport(self.upstream_id, finish_reason, self._first_chunk_s, tokens, self._error_type)

    def _note_chunk(self) -> None:
        now_s = time.monotonic()
        if self._gaps is not None:
            self._gaps.add(now_s - self._last_s)
        else:
            self._gaps = self._of("gen_ai_client_operation_time_per_output_chunk_seconds")
            self._first_chunk_s = now_s - self._began_s
            if self._is_call:
                self._of("gen_ai_client_operation_time_to_first_chunk_seconds").add(self._first_chunk_s)
        self._last_s = now_s

    def _note_tokens(self, **by_kind: int) -> None:
        for kind, tokens in by_kind.items():
            counters.distribution("gen_ai_client_token_usage", *self._labels, kind, bounds=BOUNDS_TOKENS).add(tokens)

    def _of(self, name: str, *labels: str) -> Distribution:
        return counters.distribution(name, *self._labels, *labels, bounds=BOUNDS_S)


def named_models(settings: Settings) -> frozenset[str]:
    """Return the models with a name of their own in the metrics: those that the settings know by name."""
    return frozenset((*(model.id for model in available(settings)), *settings.named_models))


def _type_of(error: BaseException | None) -> str:
    match error:
        case None:
            return ""
        case SourceError(code=code):
            return code
        case CancelledError():
            return "cancelled"
    return "internal"


def _tokens(usage: Usage) -> dict[str, int]:
    """Return what was counted by the names of the conventions, whose input has cached tokens in it."""
    details = {name: number for name, number in usage.details.items() if isinstance(number, int)}
    written, read = (details.get(f"cache_{name}_input_tokens", 0) for name in ("creation", "read"))  # Anthropic's
    tokens = {
        "input_tokens": usage.input_tokens + written + read,
        "output_tokens": usage.output_tokens,
        "cache_write.input_tokens": written,
        "cache_read.input_tokens": read or details.get("cached_tokens", 0),
        "reasoning.output_tokens": details.get("reasoning_tokens", 0),
    }
    return {name: number for name, number in tokens.items() if number or "." not in name}
