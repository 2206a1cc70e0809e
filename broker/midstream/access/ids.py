"""Ids that are derived from a client's own key: equal for equal keys, and a riddle to everybody else (I7).

A plain hash of tenant and key could be computed by anybody who guesses the key. An HMAC needs the secret of the
installation.
"""

import hashlib
import hmac
from typing import Final

ID_CHARS: Final = 32
OPEN_SECRET: Final = b"nothing is secret in an open broker"
"""What an open broker derives ids with."""


def derived_id(secret: bytes, kind: str, *parts: str) -> str:
    """Return the id that everybody with this secret derives from these parts.

    Each part goes in with its length, so that no two lists of parts are the same bytes. `kind` keeps ids for different
    purposes apart.
    """
    message = b"".join(len(part).to_bytes(4) + part for part in (text.encode() for text in (kind, *parts)))
    return hmac.new(secret, message, hashlib.sha256).hexdigest()[:ID_CHARS]
