"""How long a generation may run, and be silent: the request's limits, or its app's, or those of the settings."""

from typing import NamedTuple

from midstream.requests.request import GenerationRequest, GenerationTimeoutError, IdleTimeoutError
from midstream.settings import Settings


class TimeLimits(NamedTuple):
    """The limits of one generation.

    Attributes:
        idle_s: The longest silence of its source, in seconds.
        generation_s: The longest time of the whole generation, in seconds.
    """

    idle_s: float
    generation_s: float


def time_limits(request: GenerationRequest, model: str, settings: Settings) -> TimeLimits:
    """Return what holds for a request of this model; the settings bound it, because they may have changed since."""
    of_app = settings.timeouts_of(model)
    idle_s = request.idle_timeout_s or of_app.idle_timeout_s or settings.idle_timeout_s
    generation_s = request.generation_timeout_s or of_app.generation_timeout_s or settings.generation_timeout_s
    return TimeLimits(min(idle_s, settings.longest_idle_s), min(generation_s, settings.generation_timeout_s))


def refuse_long_times(request: GenerationRequest, settings: Settings) -> None:
    """Refuse a request for more time than the settings allow.

    Raises:
        IdleTimeoutError: It would wait too long for a silent source.
        GenerationTimeoutError: It would run too long.
    """
    if (request.idle_timeout_s or 0) > settings.longest_idle_s:
        raise IdleTimeoutError(f"At most {settings.longest_idle_s:g} s (MIDSTREAM_MAX_IDLE_TIMEOUT_S).")
    if (request.generation_timeout_s or 0) > settings.generation_timeout_s:
        raise GenerationTimeoutError(f"At most {settings.generation_timeout_s:g} s (MIDSTREAM_GENERATION_TIMEOUT_S).")
