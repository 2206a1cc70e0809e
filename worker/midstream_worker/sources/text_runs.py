"""Text and reasoning of one answer as deltas, in which no character is cut in half."""

from collections.abc import Iterator

from midstream.attempts.delta import Delta, Reasoning, Text
from midstream.attempts.surrogates import SurrogateJoiner


class TextRuns:
    """Joins the pieces of an answer's text, and those of its reasoning; each is a run of its own."""

    def __init__(self) -> None:
        self._text = SurrogateJoiner()
        self._reasoning = SurrogateJoiner()

    def text(self, piece: str) -> Iterator[Delta]:
        """Yield what can be passed on of the text, with one more piece of it."""
        if whole := self._text.push(piece):
            yield Text(whole)

    def reasoning(self, piece: str) -> Iterator[Delta]:
        """Yield what can be passed on of the reasoning, with one more piece of it."""
        if whole := self._reasoning.push(piece):
            yield Reasoning(whole)

    def end_text(self) -> Iterator[Delta]:
        """Yield what was held back of the text, which is over."""
        if rest := self._text.flush():
            yield Text(rest)

    def end_reasoning(self) -> Iterator[Delta]:
        """Yield what was held back of the reasoning, which is over."""
        if rest := self._reasoning.flush():
            yield Reasoning(rest)
