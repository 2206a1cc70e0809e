"""What a stream adds to its conversation: of its prompt, what is new in it, and its title.

Clients mostly send the whole conversation with each start. What follows the model's last message in it is new.
"""

from collections.abc import Sequence
from typing import Final

from midstream.log.entries import Json
from midstream.requests.turns import PlainText, read_turn

TITLE_CHARS: Final = 80
MODEL: Final = "assistant"
SYSTEM: Final = "system"


def new_messages(items: Sequence[Json]) -> list[Json]:
    """Return the messages of a prompt that come after the model's last one; system messages are left out."""
    new: list[Json] = []
    for item in items:
        role = read_turn(item).role
        if role == MODEL:
            new.clear()
        elif role != SYSTEM:
            new.append(item)
    return new


def title_of(items: Sequence[Json]) -> str:
    """Return the first words of the last message that holds text of the user's; empty: there is none."""
    for item in reversed(items):
        turn = read_turn(item)
        text = "".join(part.text for part in turn.parts if isinstance(part, PlainText)) if turn.role == "user" else ""
        if words := " ".join(text[: 2 * TITLE_CHARS].split()):
            return words if len(words) <= TITLE_CHARS else words[: TITLE_CHARS - 1].rsplit(" ", 1)[0] + "…"
    return ""
