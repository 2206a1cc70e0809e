"""The writer of an attempt, as its request and the settings want it: for workers and producers alike."""

from midstream.attempts.attempt import Attempt
from midstream.attempts.batcher import Batcher
from midstream.attempts.writer import Writer
from midstream.requests.request import GenerationRequest
from midstream.settings import Settings


def new_writer(attempt: Attempt, request: GenerationRequest, settings: Settings) -> Writer:
    """Return a writer, whose flusher runs."""
    chunking = request.chunking
    batcher = Batcher(
        settings.flush_ms if chunking.flush_ms is None else chunking.flush_ms,
        settings.flush_bytes if chunking.flush_bytes is None else chunking.flush_bytes,
    )
    return Writer(attempt, batcher, max_bytes=settings.max_output_bytes, max_entries=settings.stream_entries)
