"""Bytes as runs of a deflate stream that refer to nothing before them (PROTOCOL: Read/Compressed).

Such runs can be joined in any order, so one of them serves all connections, wherever it stands in their streams.
"""

import zlib
from typing import Final

from midstream import counters

SMALL_BYTES: Final = 100
"""What is shorter hardly shrinks: it is stored, at 5 bytes more."""
LARGE_BYTES: Final = 524_288
"""What is longer holds one huge entry, mostly a picture: to compress a MiB would hold all tails up for 10 ms."""
LEVEL: Final = 1
"""Of frames level 6 leaves a tenth less, in two to four times the CPU."""
STORED_BYTES: Final = 65_535
"""Most bytes of a stored block (RFC 1951)."""
_COMPRESSIONS: Final = counters.tally("compressions")


def deflated(data: bytes) -> bytes:
    """Return bytes as a run that ends at a whole byte."""
    if not SMALL_BYTES <= len(data) <= LARGE_BYTES:
        return stored(data)
    _COMPRESSIONS.number += 1
    compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)


def stored(data: bytes) -> bytes:
    """Return bytes as a run of blocks that are not compressed."""
    pieces = [data[start : start + STORED_BYTES] for start in range(0, len(data), STORED_BYTES)]
    return b"".join([_stored_head(len(piece)) + piece for piece in pieces])


def _stored_head(size_bytes: int) -> bytes:
    return b"\0" + size_bytes.to_bytes(2, "little") + (size_bytes ^ 0xFFFF).to_bytes(2, "little")
