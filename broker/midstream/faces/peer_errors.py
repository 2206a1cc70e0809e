"""The failure of a stream, in the shapes and words of each peer (PROTOCOL: Faces/Errors)."""

from dataclasses import dataclass
from typing import Final

from midstream.log.entries import CANCELLED, Json


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a stream ended that was not completed.

    Attributes:
        code: One of PROTOCOL's failure codes, or `cancelled`.
        message: A sentence for the client.
    """

    code: str
    message: str

    @property
    def status(self) -> int:
        """The HTTP status that means the same."""
        if self.code in _STATUS:
            return _STATUS[self.code]
        return 502 if self.code.startswith("provider_") else 500


_STATUS: Final = {
    "provider_bad_request": 400,
    "unknown_model": 404,
    "provider_quota": 429,
    "provider_rate_limited": 429,
    "provider_overloaded": 503,
    "provider_timeout": 504,
    "idle_timeout": 504,
    "generation_timeout": 504,
    "queue_timeout": 504,
    CANCELLED: 409,
}

_OPENAI_TYPES: Final = {400: "invalid_request_error", 401: "invalid_request_error", 429: "rate_limit_error"}
_ANTHROPIC_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "api_error",  # cancelled: the one type that blames neither the request nor the load
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
# Codes that OpenAI's SDKs know for a failed response; every other failure is a `server_error`.
_RESPONSE_CODES: Final = {
    "provider_rate_limited": "rate_limit_exceeded",
    "provider_quota": "rate_limit_exceeded",
    "provider_bad_request": "invalid_prompt",
}


CREDENTIAL_OVER: Final = "The credential is over; the stream goes on. Come back with a new one."
"""What a client reads whose credential ends in the middle of a stream."""


def failure_of(end: Json) -> Failure:
    """Return why a stream was not completed, from the data of its `end` entry."""
    error = end.get("error")
    if error:
        return Failure(error["code"], error["message"])
    if end["outcome"] == CANCELLED:
        return Failure(CANCELLED, "The generation was cancelled.")
    return Failure(end["outcome"], f"The generation was {end['outcome']}.")


def openai_error(status: int, code: str | None, message: str, param: str | None = None) -> Json:
    """Return OpenAI's error body."""
    default = "invalid_request_error" if status < 500 else "server_error"  # noqa: PLR2004
    kind = _OPENAI_TYPES.get(status, default)
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def anthropic_error(status: int, message: str) -> Json:
    """Return Anthropic's error body."""
    default = "invalid_request_error" if status < 500 else "api_error"  # noqa: PLR2004
    error = {"type": _ANTHROPIC_TYPES.get(status, default), "message": message}
    return {"type": "error", "error": error, "request_id": None}


def response_error(failure: Failure) -> Json:
    """Return the `error` of a failed OpenAI response; our own code is its `type`."""
    code = _RESPONSE_CODES.get(failure.code, "server_error")
    return {"code": code, "message": failure.message, "type": failure.code, "param": None}
