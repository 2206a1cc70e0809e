"""JSON on the wire, and the type of its objects."""

from typing import Any

import orjson
from fastapi import Response


class JsonResponse(Response):
    """A JSON document, written by orjson."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the document's bytes."""
        return orjson.dumps(content)
