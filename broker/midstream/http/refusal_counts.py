"""How often this process refused something, by the code of the refusal. Metrics read it."""

from collections import Counter
from typing import Final

refusal_counts: Final[Counter[str]] = Counter()
"""Refusals since the process began. The keys are the codes of answers (PROTOCOL: Errors/Codes)."""
