"""How a start is stored, and what equal starts have in common."""

import hashlib

import orjson

from midstream.log.entries import Json
from midstream.requests.request import GenerationRequest, UnwritableRequestError


def encoded(request: GenerationRequest, origin: Json | None) -> tuple[bytes, bytes, str]:
    """Return a request and its origin as they are stored, and the digest that equal starts have in common.

    What is stored keeps the order of keys, because models write an answer in the order of its schema's properties.
    The digest does not depend on it.

    Raises:
        UnwritableRequestError: They hold text that is no Unicode.
    """
    body = request.model_dump(mode="json", exclude_none=True)
    try:
        stored_body, stored_origin = orjson.dumps(body), orjson.dumps(origin) if origin else b""
        sorted_body = orjson.dumps((body, origin), option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONEncodeError, ValueError) as error:
        raise UnwritableRequestError("The request holds text that is no Unicode.") from error
    return stored_body, stored_origin, hashlib.sha256(sorted_body).hexdigest()
