"""A response's body as one member of gzip, of runs that other responses are sent too (PROTOCOL: Read/Compressed)."""

import struct
import zlib
from typing import Final

from starlette.types import Scope

HEAD: Final = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
"""The head of a member without a name and a time (RFC 1952)."""
LAST_BLOCK: Final = b"\x03\0"
"""An empty block of deflate, marked as the last one."""
_SIZE: Final = 0xFFFF_FFFF


class GzipMember:
    """Puts runs together, and sums up what they hold, for the checksum at the end.

    `opening` leads the first of them; `opening_run` is what it is deflated.
    """

    __slots__ = ("_checksum", "_head", "_size_bytes")

    def __init__(self, opening: bytes, opening_run: bytes) -> None:
        self._head = HEAD + opening_run  # empty, once it was returned
        self._checksum = zlib.crc32(opening)
        self._size_bytes = len(opening)

    def begin(self) -> bytes:
        """Return the head and the opening; nothing, if they were returned before."""
        head, self._head = self._head, b""
        return head

    def add(self, chunk: bytes, run: bytes) -> bytes:
        """Return what is to be sent for a chunk: its run itself, after the first one."""
        self._checksum = zlib.crc32(chunk, self._checksum)
        self._size_bytes += len(chunk)
        return self.begin() + run if self._head else run

    def end(self) -> bytes:
        """Return what makes the member whole."""
        return self.begin() + LAST_BLOCK + struct.pack("<II", self._checksum, self._size_bytes & _SIZE)


def accepts_gzip(scope: Scope) -> bool:
    """Tell whether a request names gzip among the encodings that it accepts, and does not prefer plain bytes."""
    weights: dict[bytes, float] = {}
    for name, value in scope["headers"]:
        if name == b"accept-encoding":
            for coding in value.lower().split(b","):
                word, _, parameter = coding.partition(b";")
                weights[word.strip()] = _weight(parameter.strip())
    gzip = weights.get(b"gzip", 0.0)
    return gzip > 0 and gzip >= weights.get(b"identity", 0.0)


def _weight(parameter: bytes) -> float:
    """Return a coding's weight; 0, a refusal, where it cannot be read."""
    name, _, number = parameter.partition(b"=")
    if not parameter:
        return 1.0
    try:
        weight = float(number) if name.strip() == b"q" else 0.0
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
