"""A text that grows piece by piece while every earlier state of it stays as it was."""

Rope = tuple["Rope", str] | None
"""Nothing yet, or what came before and the newest piece: growing it copies nothing."""


def text_of(rope: Rope) -> str:
    """Return the whole text."""
    pieces = []
    while rope is not None:
        rope, piece = rope
        pieces.append(piece)
    return "".join(reversed(pieces))
