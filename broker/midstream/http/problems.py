"""Errors as RFC 9457 problem documents (PROTOCOL: Errors/Codes)."""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import orjson
from fastapi import Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Scope

from midstream import counters
from midstream.access.refusals import AccessError, BudgetExceededError, LimitExceededError
from midstream.finder.where import WhereError
from midstream.http import request_ids
from midstream.http.error_shapes import peer_response
from midstream.log.errors import (
    IdempotencyMismatch,
    LogFull,
    LogTrimmed,
    LogUnavailable,
    NewerFormat,
    StreamAbsent,
    StreamDeleted,
    ThreadAbsent,
    ThreadActive,
    ThreadFull,
)
from midstream.operate.act import ActRefusedError, CountChangedError
from midstream.operate.drain import ProcessAbsentError
from midstream.requests.catalogue import MissingProviderKey, UnknownModel
from midstream.requests.continuation import NoTokenizerError
from midstream.requests.provider_objects import ProviderObjectError
from midstream.requests.remote_files import RemoteFileError
from midstream.requests.request import UnfitRequestError
from midstream.service.entry_lines import BadEntryError
from midstream.service.intake import NoWorkerError, OverloadedError
from midstream.service.producer_refusal import ProducerRefusedError
from midstream.service.services import StoppingError

RETRY_AFTER_S: Final = 1
WAITING_AGAIN_S: Final = 5
"""When to try again where too many streams of a thread wait."""
ERRORS_NAMED: Final = 20
_RETRY: Final = {"Retry-After": str(RETRY_AFTER_S)}
_CODES: Final = {404: "not_found", 405: "method_not_allowed"}


class Problem(HTTPException):
    """An error for a client, with its code and facts.

    It is an `HTTPException`, because FastAPI lets no other error out while it reads a body.
    """

    def __init__(
        self, status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **facts: Any
    ) -> None:
        super().__init__(status, detail, headers)
        self.code = code
        self.facts = facts

    def response(self, scope: Scope) -> Response:
        """Return the problem document, or the error in the shape of the peer whose path was requested."""
        response = peer_response(scope, self.status_code, self.code, str(self.detail), self.facts, self.headers)
        response = response or self._document()
        response.raw_headers += request_ids.headers_of(scope)
        return response

    def _document(self) -> Response:
        document = {
            "type": f"urn:midstream:{self.code}",
            "title": HTTPStatus(self.status_code).phrase,
            "status": self.status_code,
            "detail": self.detail,
            "code": self.code,
            **self.facts,
        }
        return Response(
            orjson.dumps(document, default=str), self.status_code, self.headers, media_type="application/problem+json"
        )


def misfit(errors: Sequence[Any]) -> Problem:
    """Return the problem of a body that a model refuses; of many errors it names the first `ERRORS_NAMED`."""
    where = [{"at": ".".join(map(str, e["loc"])), "message": e["msg"]} for e in errors[:ERRORS_NAMED]]
    return Problem(400, "bad_request", "The request does not fit; see `errors`.", errors=where)


def _unavailable(error: LogUnavailable) -> Problem:
    why = f"The log's server refuses for now ({error.code}); try again." if error.code else "The log does not answer."
    return Problem(503, "log_unavailable", why, headers=_RETRY)


def _trimmed(error: LogTrimmed) -> Problem:
    detail = f"The entries before offset {error.first_offset} are gone."
    return Problem(410, "cursor_trimmed", detail, first_offset=error.first_offset, reason="trimmed")


def _full(_: LogFull) -> Problem:
    why = "The log's server is out of memory: what is there can be read, nothing can be started."
    return Problem(503, "log_full", why, headers=_RETRY)


def _newer(_: NewerFormat) -> Problem:
    why = "A newer version has written this stream; a broker of that version answers the same request."
    return Problem(503, "newer_format", why, headers=_RETRY)


def _refused(error: AccessError) -> Problem:
    headers = {"WWW-Authenticate": "Bearer"} if error.status == HTTPStatus.UNAUTHORIZED else None
    return Problem(error.status, error.code, error.detail, headers=headers)


def _limited(error: LimitExceededError) -> Problem:
    counters.count("limit_exceeded", error.of, error.limit)
    headers = {"Retry-After": str(error.retry_after_s)}
    facts = {"limit": error.limit, "of": error.of, "retry_after_s": error.retry_after_s}
    return Problem(error.status, error.code, error.detail, headers=headers, **facts)


def _over_budget(error: BudgetExceededError) -> Problem:
    counters.count("starts_refused", error.code)
    # The SDKs would try again after a moment, and the next period may be weeks away.
    headers = {"Retry-After": str(error.retry_after_s), "x-should-retry": "false"}
    facts = {"of": error.of, "period": error.period, "retry_after_s": error.retry_after_s}
    return Problem(error.status, error.code, error.detail, headers=headers, **facts)


def _overloaded(error: OverloadedError) -> Problem:
    counters.count("starts_refused", "overloaded")
    headers = {"Retry-After": str(error.retry_after_s)}
    return Problem(503, "overloaded", str(error), headers=headers, retry_after_s=error.retry_after_s)


def _unfit(error: UnfitRequestError) -> Problem:
    return Problem(400, "bad_request", str(error), errors=[{"at": error.at, "message": str(error)}])


def _unclear(error: WhereError) -> Problem:
    errors = [{"at": at, "message": why} for at, why in error.errors[:ERRORS_NAMED]]
    return Problem(400, "bad_filter", "The streams cannot be looked for like this.", errors=errors)


def _plain(error: HTTPException) -> Problem:
    """Return the problem of an error of Starlette's; its headers stay, because a 405 has to name what is allowed."""
    code = _CODES.get(error.status_code, "bad_request")
    return Problem(error.status_code, code, str(error.detail), headers=error.headers)


def _internal(_: Exception) -> Problem:
    # Servers close the connection after an error that the app let out. The header says so, before the client sends
    # another request on it.
    closing = {"Connection": "close"}
    return Problem(500, "internal", "Something went wrong here; it was logged.", headers=closing)


_PROBLEMS: Final[dict[type[Exception], Callable[[Any], Problem]]] = {
    Problem: lambda problem: problem,
    StreamAbsent: lambda _: Problem(404, "stream_not_found", "There is no such stream."),
    ThreadAbsent: lambda _: Problem(404, "thread_not_found", "There is no such thread."),
    StreamDeleted: lambda e: Problem(
        410, "stream_deleted", str(e) or "The stream that this idempotency key started was deleted."
    ),
    ThreadActive: lambda e: Problem(
        409, "thread_active", "A stream of this thread has not ended.", stream_id=e.stream_id
    ),
    ThreadFull: lambda _: _limited(LimitExceededError("waiting", "thread", WAITING_AGAIN_S)),
    IdempotencyMismatch: lambda _: Problem(
        422, "idempotency_mismatch", "This idempotency key was used before with another body."
    ),
    UnknownModel: lambda e: Problem(422, "unknown_model", str(e), model=e.model, models=e.models),
    MissingProviderKey: lambda e: Problem(
        422, "missing_provider_key", str(e), provider=e.provider, variable=e.variable
    ),
    ProviderObjectError: lambda e: Problem(400, "provider_object", str(e), param=e.at),
    RemoteFileError: lambda e: Problem(400, "remote_file", str(e), param=e.at),
    AccessError: _refused,
    LimitExceededError: _limited,
    BudgetExceededError: _over_budget,
    OverloadedError: _overloaded,
    StoppingError: lambda e: Problem(503, "stopping", str(e), headers=_RETRY),
    NoWorkerError: lambda e: Problem(503, "no_worker", str(e), headers=_RETRY),
    LogTrimmed: _trimmed,
    ProcessAbsentError: lambda _: Problem(404, "process_not_found", "There is no such process on the roll."),
    CountChangedError: lambda e: Problem(409, e.code, str(e), count=e.count),
    ActRefusedError: lambda e: Problem(409, e.code, str(e)),
    ProducerRefusedError: lambda e: Problem(409, e.code, str(e), **e.facts),
    BadEntryError: lambda e: Problem(400, "bad_entry", str(e), index=e.index),
    LogUnavailable: _unavailable,
    LogFull: _full,
    NewerFormat: _newer,
    NoTokenizerError: lambda e: Problem(400, "no_tokenizer", str(e), param=e.at),
    UnfitRequestError: _unfit,
    WhereError: _unclear,
    RequestValidationError: lambda e: misfit(e.errors()),
    HTTPException: _plain,
    Exception: _internal,
}
"""What each error of the rooms below stands for; the nearest base class decides."""
ANSWERED: Final = tuple(_PROBLEMS)


def problem_of(error: Exception) -> Problem:
    """Return the problem that an error stands for."""
    return next(_PROBLEMS[kind](error) for kind in type(error).__mro__ if kind in _PROBLEMS)
