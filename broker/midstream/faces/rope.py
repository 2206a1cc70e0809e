"""A text that grows piece by piece, while every earlier version of it stays valid."""

Rope = tuple["Rope", str] | None
"""None is the empty text. Otherwise it is the text before, and the newest piece; growing it copies nothing."""


def text_of(rope: Rope) -> str:
    """Return the whole text."""
    pieces = []
    while rope is not None:
        rope, piece = rope
        pieces.append(piece)
    return "".join(reversed(pieces))
