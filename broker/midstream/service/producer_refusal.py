"""What an external producer is refused with, by whichever way it comes."""

from typing import Any


class ProducerRefusedError(Exception):
    """The producer may not do this, as the stream is now.

    Attributes:
        code: As in PROTOCOL: Produce/Fenced.
        facts: What the stream is like instead.
    """

    def __init__(self, code: str, detail: str, **facts: Any) -> None:
        super().__init__(detail)
        self.code = code
        self.facts = facts
