"""What this process has counted since it said so last, for the counts of each minute (PROTOCOL: Operate/Minutes).

Nothing is counted for this alone: it reads what is counted for the metrics. So the end of a stream costs no command
more, and a process that dies takes the counts of its last seconds with it.
"""

from collections import Counter
from collections.abc import Mapping
from typing import ClassVar, Final

from midstream import counters

FIRST_CHUNK: Final = "gen_ai_client_operation_time_to_first_chunk_seconds"
FIRST_CHUNK_BOUNDS_S: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""The bounds of that distribution, as OpenTelemetry's conventions want them."""
CALLS: Final = "gen_ai_client_operation_duration_seconds"
TOKENS: Final = "gen_ai_client_token_usage"


def read() -> Counter[str]:
    """Return what this process has counted since it began, by the names of the fields of a minute."""
    fields: Counter[str] = Counter()
    for (name, *labels), number in counters.counts().items():
        for field in _fields_of(name, labels):
            fields[field] += number
    for (name, *labels), distribution in counters.distributions().items():
        if name == FIRST_CHUNK:
            fields.update({f"first:{part}": number for part, number in enumerate(distribution.numbers)})
        elif name == CALLS:
            fields.update({"calls": sum(distribution.numbers), "call_ms": round(distribution.total * 1000)})
        elif name == TOKENS:
            fields[f"{labels[-1]}_tokens"] += round(distribution.total)
    return fields


def _fields_of(name: str, labels: list[str]) -> list[str]:
    match name, labels:
        case "ends", [outcome, ""]:
            return [f"end:{outcome}"]
        case "ends", [outcome, code]:
            return [f"end:{outcome}", f"code:{code}"]
        case "starts", [result]:
            return ["starts" if result == "new" else "joined"]
        case (("paid_calls" | "paid_calls_avoided" | "lease_losses" | "limit_exceeded"), _):
            return [name]
    return []


class MinuteCounts:
    """Hands out what was counted since the last time; processes have one each, tests may have several in one."""

    _handed: ClassVar[Counter[str]] = Counter()
    _users: ClassVar[int] = 0

    def begin(self) -> None:
        """Count from now on, unless somebody does in this process."""
        if not MinuteCounts._users:
            MinuteCounts._handed = read()
        MinuteCounts._users += 1

    def end(self) -> None:
        """Count no more."""
        MinuteCounts._users -= 1

    def take(self) -> dict[str, int]:
        """Return what was counted since it was taken last."""
        now = read()
        more = now - MinuteCounts._handed
        MinuteCounts._handed = now
        return dict(more)

    def give_back(self, counts: Mapping[str, int]) -> None:
        """Have counts that were not handed on taken again."""
        MinuteCounts._handed = MinuteCounts._handed - Counter(counts)
