"""What streams are looked for by: facts that all have to fit (PROTOCOL: Operate/Find)."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

MOST_CONDITIONS: Final = 32
"""The most conditions of one search."""
VALUE_CHARS: Final = 512
"""The longest value of a condition, and the longest name of a piece of metadata."""
MOST_S: Final = 10.0**10
MOST_ATTEMPTS: Final = 1_000_000
METADATA: Final = "metadata."
"""A condition whose name begins with it is about the piece of metadata of the name that follows."""
STATUSES: Final = ("queued", "running", "ended", "completed", "failed", "cancelled", "interrupted")
OUTCOMES: Final = STATUSES[3:]


class WhereError(ValueError):
    """Conditions that cannot be looked for.

    Attributes:
        errors: Each condition that does not fit, and why.
    """

    def __init__(self, errors: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{at}: {why}" for at, why in errors))
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Where:
    """Which streams are looked for: those that every condition fits. A condition of several values fits any of them.

    Attributes:
        status: Statuses, or outcomes.
        outcome: Outcomes.
        code: Codes of the failure that ended it.
        model: `provider/name`.
        thread: The threads that they were started with.
        user: Their tenants' users.
        tenant: Their tenants.
        older_than_s: Created longer ago than this.
        newer_than_s: Created no longer ago than this.
        silent_s: Not ended, and without a new entry for longer than this.
        attempts_over: With more attempts than this.
        metadata: Pieces of metadata: each name with the values that fit.
        q: Text that stands in the id, the user, the thread, the provider's id or the metadata, whatever its case.
    """

    status: tuple[str, ...] = ()
    outcome: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    model: tuple[str, ...] = ()
    thread: tuple[str, ...] = ()
    user: tuple[str, ...] = ()
    tenant: tuple[str, ...] = ()
    older_than_s: float | None = None
    newer_than_s: float | None = None
    silent_s: float | None = None
    attempts_over: int | None = None
    metadata: tuple[tuple[str, tuple[str, ...]], ...] = ()
    q: str | None = None

    @classmethod
    def parse(cls, conditions: Iterable[tuple[str, str]]) -> "Where":
        """Return the search that names and values stand for, such as `("status", "failed")`, `("metadata.job", "7")`.

        Raises:
            WhereError: There is no condition of a name, or a value does not fit; all of them are named.
        """
        facts: dict[str, Any] = {}
        metadata: dict[str, list[str]] = {}
        errors: list[tuple[str, str]] = []
        conditions = list(conditions)
        if len(conditions) > MOST_CONDITIONS:
            raise WhereError([("where", f"There are more than {MOST_CONDITIONS} conditions.")])
        for name, text in conditions:
            try:
                if name.startswith(METADATA) and name != METADATA:
                    metadata.setdefault(_text(name.removeprefix(METADATA)), []).append(_text(text))
                elif name in _WORDS:
                    facts[name] = (*facts.get(name, ()), _WORDS[name](text))
                elif name not in _SINGLE:
                    raise ValueError(f"There is no such condition; there are {', '.join(CONDITIONS)}.")
                elif name in facts:
                    raise ValueError("It is named twice.")
                else:
                    facts[name] = _SINGLE[name](text)
            except ValueError as error:
                errors.append((name[:VALUE_CHARS], str(error)))
        if errors:
            raise WhereError(errors)
        return cls(**facts, metadata=tuple((name, tuple(values)) for name, values in metadata.items()))

    def within(self, tenant: str | None) -> "Where":
        """Return the same search among the streams of one tenant alone; None: of all tenants."""
        if tenant is None:
            return self
        # No tenant is named "", so a search among another tenant's streams finds none.
        return replace(self, tenant=(tenant if tenant in (self.tenant or (tenant,)) else "",))


def _text(text: str) -> str:
    if len(text) > VALUE_CHARS:
        raise ValueError(f"It has more than {VALUE_CHARS} characters.")
    if any("\ud800" <= each <= "\udfff" for each in text):
        raise ValueError("It is no Unicode.")
    return text


def _words(text: str) -> str:
    if not text:
        raise ValueError("It is empty.")
    return _text(text)


def _one_of(words: tuple[str, ...]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"It is none of {', '.join(words)}.")
        return text

    return read


def _seconds(text: str) -> float:
    try:
        value = float(_text(text))
    except ValueError:
        value = math.nan
    if not 0 <= value <= MOST_S:
        raise ValueError(f"It is no number of seconds from 0 to {MOST_S:.0f}.")
    return value


def _attempts(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < len(str(MOST_ATTEMPTS))):
        raise ValueError(f"It is no whole number from 0 to {MOST_ATTEMPTS - 1}.")
    return int(text)


_WORDS: Final[dict[str, Callable[[str], str]]] = {
    "status": _one_of(STATUSES),
    "outcome": _one_of(OUTCOMES),
    **dict.fromkeys(("code", "model", "thread", "user", "tenant"), _text),
}
_SINGLE: Final[dict[str, Callable[[str], Any]]] = {
    **dict.fromkeys(("older_than_s", "newer_than_s", "silent_s"), _seconds),
    "attempts_over": _attempts,
    "q": _words,
}
CONDITIONS: Final = (*_WORDS, *_SINGLE, f"{METADATA}<name>")
"""The conditions that there are."""
