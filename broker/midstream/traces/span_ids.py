"""The ids of spans. That of an attempt follows from its stream's trace, so that every process knows it."""

import hashlib

from opentelemetry.sdk.trace.id_generator import RandomIdGenerator


class SpanIds:
    """Makes ids as OpenTelemetry's own generator does, but takes the next span's from the one who starts it.

    A worker that is killed never sends the span of its attempt, although the spans inside it may have arrived. The
    reaper that finds the attempt lost sends it, and both name it alike.

    Attributes:
        next_span_id: The id of the span that is started next; 0: any.
    """

    def __init__(self) -> None:
        self.next_span_id = 0
        self._random = RandomIdGenerator()

    def is_trace_id_random(self) -> bool:
        """Return that trace ids are random."""
        return True

    def generate_trace_id(self) -> int:
        """Return the id of a new trace."""
        trace_id: int = self._random.generate_trace_id()
        return trace_id

    def generate_span_id(self) -> int:
        """Return the id of the next span."""
        chosen, self.next_span_id = self.next_span_id, 0
        random: int = chosen or self._random.generate_span_id()
        return random


def attempt_id(context: str, epoch: int) -> int:
    """Return the id of the span of an attempt, by what its stream's state has of the trace."""
    return int.from_bytes(hashlib.sha256(f"{context} {epoch}".encode()).digest()[:8], "big") or 1
