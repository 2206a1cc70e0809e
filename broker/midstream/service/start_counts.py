"""What operators want to know of starts."""

from midstream import counters
from midstream.requests.catalogue import FREE_PROVIDERS, split


def count_start(model: str, *, is_new: bool) -> None:
    """Count a start that began a stream or joined one; what joins one of a model that may cost avoids a paid call."""
    counters.count("starts", "new" if is_new else "found")
    if not is_new and split(model)[0] not in FREE_PROVIDERS:
        counters.count("paid_calls_avoided", "same_start")
