"""Entries as JSON objects in a list (PROTOCOL: WebSocket). Whoever sends a chunk puts the brackets round it."""

import orjson

from midstream.log.entries import Stored, decode


class ObjectsFace:
    """An object per entry, each with a comma behind it."""

    heartbeat: bytes = b""  # a socket has pings of its own

    def begin(self) -> None:
        """Remember nothing."""

    def frame(self, entry: Stored, state: None) -> tuple[bytes, None]:
        """Return an entry's object: its offset, its type and its data."""
        decoded = decode(entry.content, entry.offset, entry.epoch)
        return _object(decoded.data | {"offset": entry.offset, "type": decoded.type}), state

    def parting(self, retry_ms: int) -> bytes:
        """Return the object that asks a client to tail again."""
        return _object({"type": "parting", "retry_ms": retry_ms})

    def reset(self, reason: str) -> bytes:
        """Return a `reset` that is not from the log."""
        return _object({"offset": 0, "type": "reset", "reason": reason})


def _object(data: dict[str, object]) -> bytes:
    return orjson.dumps(data) + b","
