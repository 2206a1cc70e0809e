"""Amounts in the words of a sentence. The cells of tables have shorter forms (`cli/table.py`)."""

from typing import Final

SECOND_MS: Final = 1_000
MINUTE_S: Final = 60
HOUR_S: Final = 3_600


def number_of(number: int, noun: str) -> str:
    """Return a number and its noun, as in `1 entry` and `2 entries`."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def span(span_ms: float) -> str:
    """Return a time in words that fit its length."""
    span_ms = max(0, span_ms)
    if span_ms < SECOND_MS:
        return f"{round(span_ms)} ms"
    seconds = span_ms / SECOND_MS
    if seconds < MINUTE_S:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    minutes = round(seconds) // MINUTE_S
    if seconds < HOUR_S:
        return f"{minutes} min {round(seconds) % MINUTE_S} s".removesuffix(" 0 s")
    return f"{minutes // MINUTE_S} h {minutes % MINUTE_S} min".removesuffix(" 0 min")
