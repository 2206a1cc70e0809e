"""Summaries that stand for a conversation: sealed for clients, and read back (PROTOCOL: Responses/Compact)."""

import base64
import re
import zlib
from contextlib import suppress
from typing import Final

from midstream.log.entries import Json

COMPACTION: Final = "compaction"
"""The type of the item that holds a summary."""
_OURS: Final = "midstream-"
_SEALED: Final = re.compile(r"midstream-1\.([0-9a-f]{8})\.([A-Za-z0-9_-]+)")
_LEAD: Final = "Summary of the conversation so far:\n\n"


class DamagedSummaryError(ValueError):
    """An item was sealed here, but not read back: it was changed on its way, or a newer version sealed it."""


def sealed(summary: str) -> str:
    """Return a summary as a compaction's content: encoded, not encrypted, because its holder may read all of it."""
    text = summary.encode()
    return f"{_OURS}1.{zlib.crc32(text):08x}.{base64.urlsafe_b64encode(text).decode().rstrip('=')}"


def is_foreign(item: Json) -> bool:
    """Tell whether an item is a compaction that was sealed elsewhere, which only its provider can read."""
    return item.get("type") == COMPACTION and not str(item.get("encrypted_content")).startswith(_OURS)


def opened(item: Json) -> Json:
    """Return a compaction of ours as a message; every other item as it is.

    Raises:
        DamagedSummaryError: It is one of ours no more.
    """
    if item.get("type") != COMPACTION or is_foreign(item):
        return item
    return {"role": "user", "content": _LEAD + _summary(item["encrypted_content"])}


def _summary(content: str) -> str:
    if match := _SEALED.fullmatch(content):
        with suppress(ValueError):  # no base64, or no UTF-8
            text = base64.urlsafe_b64decode(f"{match[2]}===")
            if zlib.crc32(text) == int(match[1], 16):
                return text.decode()
    raise DamagedSummaryError("The compaction's `encrypted_content` is not as it was given.")
