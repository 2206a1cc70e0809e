"""What an answer is that was asked for as JSON (PROTOCOL: Structured/End)."""

import orjson

from midstream.attempts.delta import Delta, Other, Text
from midstream.log.entries import RESET, Json, require_json


class JsonAnswer:
    """Keeps the text of an answer, as it is logged.

    Args:
        limit_bytes: Longest text that is parsed.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._pieces: list[str] = []
        self._size_bytes = 0

    def take(self, delta: Delta) -> None:
        """Take a delta that goes to the writer."""
        if isinstance(delta, Text):
            self.add(delta.text)
        elif isinstance(delta, Other) and delta.type == RESET:
            self._pieces.clear()
            self._size_bytes = 0

    def add(self, piece: str) -> None:
        """Take a piece of the text."""
        self._size_bytes += len(piece.encode())
        if self._size_bytes <= self._limit_bytes:
            self._pieces.append(piece)

    @property
    def fields(self) -> Json:
        """What the end of the stream says of it: `parsed` or `parse_error`."""
        if self._size_bytes > self._limit_bytes:
            return {"parse_error": "It is longer than MIDSTREAM_STRUCTURED_BYTES."}
        try:
            value = orjson.loads("".join(self._pieces))
            require_json(value)  # what can be written is less deep than what can be read
        except orjson.JSONDecodeError as error:
            return {"parse_error": f"It is no JSON: {error}."}
        except TypeError:
            return {"parse_error": "It is nested too deep."}
        return {"parsed": value}
