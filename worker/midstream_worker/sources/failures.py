"""Maps what an SDK raises, or a provider reports, to `SourceError`: one table for all providers.

The table answers two questions: which of PROTOCOL's failure codes it is, and whether the call may be made
again: `safe` (surely not billed), `ambiguous` (may have been billed) or `never` (it would fail again).
"""

import re
import time
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from types import ModuleType
from typing import Any, Final, Literal

import httpx2

from midstream.attempts.delta import SourceError
from midstream_worker.sources.provider_http import RefusedAnswerError
from midstream_worker.sources.provider_json import MisfitError

Retry = Literal["safe", "ambiguous", "never"]
Verdict = tuple[str, Retry]

READ_CHARS: Final = 8_192
"""How much of a provider's message is examined; `SourceError` cuts it further."""

_OVERLOADED: Final = 529  # Anthropic's own status

_BAD_REQUEST: Final[Verdict] = ("provider_bad_request", "never")
_AUTH: Final[Verdict] = ("provider_auth", "never")
_QUOTA: Final[Verdict] = ("provider_quota", "never")
_RATE_LIMITED: Final[Verdict] = ("provider_rate_limited", "safe")
_BUSY: Final[Verdict] = ("provider_overloaded", "safe")
_ERROR: Final[Verdict] = ("provider_error", "ambiguous")
_REDIRECT: Final[Verdict] = ("provider_error", "never")
_TIMEOUT: Final[Verdict] = ("provider_timeout", "ambiguous")
_DISCONNECTED: Final[Verdict] = ("provider_disconnected", "ambiguous")
_UNREACHABLE: Final[Verdict] = ("provider_unreachable", "safe")

_REFUSALS: Final = frozenset(code for code, _ in (_BAD_REQUEST, _AUTH, _QUOTA, _RATE_LIMITED, _BUSY, _UNREACHABLE))
"""What a provider says instead of an answer, and bills nothing for, unless it has begun to answer."""

_BY_STATUS: Final[Mapping[int, Verdict]] = {
    HTTPStatus.UNAUTHORIZED: _AUTH,
    HTTPStatus.FORBIDDEN: _AUTH,
    HTTPStatus.PAYMENT_REQUIRED: _QUOTA,
    HTTPStatus.REQUEST_TIMEOUT: _TIMEOUT,
    HTTPStatus.GATEWAY_TIMEOUT: _TIMEOUT,
    HTTPStatus.TOO_MANY_REQUESTS: _RATE_LIMITED,
    HTTPStatus.SERVICE_UNAVAILABLE: _BUSY,
    _OVERLOADED: _BUSY,
}

# Where the status does not tell (an error in mid-stream comes with 200), the body's type or code does.
_BY_KIND: Final[Mapping[str, Verdict]] = {
    "overloaded_error": _BUSY,
    "rate_limit_error": _RATE_LIMITED,
    "rate_limit_exceeded": _RATE_LIMITED,
    "authentication_error": _AUTH,
    "permission_error": _AUTH,
    "invalid_request_error": _BAD_REQUEST,
    "invalid_prompt": _BAD_REQUEST,
    "not_found_error": _BAD_REQUEST,
    "timeout_error": _TIMEOUT,
    # Google's: the names of its statuses, and what its connections are cut with.
    "unavailable": _BUSY,
    "resource_exhausted": _RATE_LIMITED,
    "unauthenticated": _AUTH,
    "permission_denied": _AUTH,
    "invalid_argument": _BAD_REQUEST,
    "invalid_request": _BAD_REQUEST,
    "failed_precondition": _BAD_REQUEST,
    "not_found": _BAD_REQUEST,
    "deadline_exceeded": _TIMEOUT,
    "gateway_timeout": _TIMEOUT,
}
_QUOTA_KINDS: Final = frozenset(
    ("insufficient_quota", "billing_error", "billing_hard_limit_reached", "budget_exceeded")
)
_KEY_KINDS: Final = frozenset(("api_key_invalid",))
"""Google's, with the status of a bad request."""

_SECRET_SHAPES: Final = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|key)[-_][\w*.-]{6,}"  # keys, also with their middle starred out
    r"|\bAIza[\w*.-]{6,}|\bAQ\.[\w*.-]{6,}"  # Google's
    r"|\bbearer\s+[^\s\"']+"
    r"|(?<=://)[^\s/@\"']+@",  # credentials of a URL
    re.IGNORECASE,
)


class Failures:
    """The failures of one provider, as its SDK raises them.

    Args:
        sdk: `openai`, `anthropic`, or the module of `google-genai` with its exceptions; all name them alike.
        provider: The provider's name, for messages.
        secrets: Texts that are removed from every message, because providers echo them.
    """

    def __init__(self, sdk: ModuleType, provider: str, secrets: Iterable[str]) -> None:
        self._sdk = sdk
        self._provider = provider
        self._secrets = [secret for secret in secrets if secret]

    def of_exception(self, error: Exception, *, started: bool) -> SourceError:
        """Return the failure that an exception of the SDK, or of the HTTP client below it, stands for.

        Args:
            error: What was raised.
            started: Whether the provider has begun to answer: then the call may have been billed.

        Raises:
            Exception: The error itself, if it comes from neither: it is a fault of our own.
        """
        if isinstance(error, self._sdk.APIStatusError):
            return self.of_report(error.body, status=error.status_code, headers=error.response.headers, started=started)
        # The SDKs wrap the HTTP client's exceptions, but anthropic's does not do so in mid-stream.
        transport = error.__cause__ if isinstance(error, self._sdk.APIConnectionError) else error
        if isinstance(transport, RefusedAnswerError):
            return self._failure((transport.code, "never"), str(transport), started=started)
        if isinstance(transport, httpx2.TransportError):
            verdict, message = _of_transport(transport)
            return self._failure(verdict, message, started=started)
        if isinstance(error, self._sdk.APIError):
            # Google's has a status too, if the answer was a redirect.
            return self.of_report(
                error.body, status=getattr(error, "status_code", None) or HTTPStatus.OK, started=started
            )
        if isinstance(error, MisfitError):
            return self._failure(_ERROR, str(error), started=started)
        if isinstance(error, (ValueError, RecursionError)):  # raised by the JSON parser, also for deep nesting
            return self._failure(_ERROR, "sent something that is not a stream of JSON events", started=started)
        raise error

    def of_report(
        self,
        body: object,
        *,
        status: int = HTTPStatus.OK,
        headers: Mapping[str, str] | None = None,
        started: bool = True,
    ) -> SourceError:
        """Return the failure that a provider reports, by an HTTP status or by an event in mid-stream."""
        kinds, text = _read(body)
        verdict = _verdict(status, kinds)
        message = f"answered: {text}" if text else "reported a failure"
        if verdict == _AUTH:  # providers like to repeat the key that they refuse
            message = "refused the API key"
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            verdict, message = _REDIRECT, "answered with a redirect, which is not followed"
        if status >= HTTPStatus.MULTIPLE_CHOICES:
            message += f" (HTTP {status})"
        return self._failure(verdict, message, retry_after_s=_retry_after_s(headers or {}), started=started)

    def incomplete(self) -> SourceError:
        """Return the failure of a stream that ended without its terminal event."""
        return self._failure(("provider_incomplete", "ambiguous"), "ended its stream before the answer was complete")

    def _failure(
        self, verdict: Verdict, message: str, *, retry_after_s: float | None = None, started: bool = True
    ) -> SourceError:
        code, retry = verdict
        if started and retry == "safe":
            retry = "ambiguous"
        is_refusal = not started and code in _REFUSALS
        return SourceError(
            code, self._clean(f"{self._provider} {message}"), retry, retry_after_s, is_refusal=is_refusal
        )

    def _clean(self, message: str) -> str:
        """Return a message without secrets. It is cut first: cleaning a huge one could take seconds."""
        was_cut = len(message) > READ_CHARS
        message = message[:READ_CHARS]
        for secret in self._secrets:
            message = message.replace(secret, "[secret]")
            if was_cut:
                message = _without_end(message, secret)
        return _SECRET_SHAPES.sub("[secret]", message)


def _without_end(message: str, secret: str) -> str:
    """Return a message without the beginning of a secret that was cut in two at the message's end."""
    length = next((length for length in range(len(secret) - 1, 0, -1) if message.endswith(secret[:length])), 0)
    return message[: len(message) - length]


def _of_transport(error: httpx2.TransportError) -> tuple[Verdict, str]:
    if isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)):
        return _UNREACHABLE, "could not be reached"
    if isinstance(error, httpx2.UnsupportedProtocol):
        return ("provider_unreachable", "never"), "has a base URL that is not one of HTTP"
    if isinstance(error, httpx2.TimeoutException):
        return _TIMEOUT, "was silent for too long"
    return _DISCONNECTED, "closed the connection before the answer was complete"


def _verdict(status: int, kinds: frozenset[str]) -> Verdict:
    if kinds & _QUOTA_KINDS:  # OpenAI sends this with 429, although waiting does not help
        return _QUOTA
    if kinds & _KEY_KINDS:
        return _AUTH
    if verdict := _BY_STATUS.get(status):
        return verdict
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return _BAD_REQUEST
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _ERROR
    return next((_BY_KIND[kind] for kind in sorted(kinds) if kind in _BY_KIND), _ERROR)


def _read(body: object) -> tuple[frozenset[str], str]:
    """Return the kinds (`type`, `code` …) and the message of an error body, wrapped in `error` or bare."""
    if isinstance(body, list) and len(body) == 1:  # Google's, now and then
        body = body[0]
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        body = body["error"]
    if not isinstance(body, dict):
        return frozenset(), ""
    details = body["details"] if isinstance(body.get("details"), list) else ()
    named = [*map(body.get, ("type", "code", "status")), *(it.get("reason") for it in details if isinstance(it, dict))]
    kinds = frozenset(kind.lower() for kind in named if isinstance(kind, str))
    message: Any = body.get("message")
    return kinds, message if isinstance(message, str) else ""


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the provider's `Retry-After` in seconds, from any of its three forms."""
    try:
        if milliseconds := headers.get("retry-after-ms"):
            seconds = float(milliseconds) / 1_000
        else:
            seconds = float(headers["retry-after"])
    except KeyError:
        return None
    except ValueError:
        try:
            seconds = parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time()
        except (KeyError, ValueError):
            return None
    return seconds if seconds >= 0 else None
