"""Errors as RFC 9457 problem documents (PROTOCOL: Errors/Codes)."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Scope

from midstream.http import request_ids
from midstream.http.peers import error_shapes
from midstream.log.errors import (
    IdempotencyMismatch,
    LogFull,
    LogUnavailable,
    StreamAbsent,
    StreamDeleted,
)
from midstream.requests.catalogue import MissingProviderKey, UnknownModel
from midstream.requests.request import UnfitRequestError

RETRY_AFTER_S: Final = 1
ERRORS_TOLD: Final = 20
_RETRY: Final = {"Retry-After": str(RETRY_AFTER_S)}
_CODES: Final = {404: "not_found", 405: "method_not_allowed"}


class Problem(HTTPException):
    """An error that a client is told about, with its code and facts.

    An `HTTPException`, because FastAPI lets no other error out of reading a body.
    """

    def __init__(
        self, status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **facts: Any
    ) -> None:
        super().__init__(status, detail, headers)
        self.code = code
        self.facts = facts

    def response(self, scope: Scope) -> Response:
        """Return the problem document, or the error in the words of the face that was asked."""
        response = self._shaped(scope)
        request_ids.add_to(scope, response.raw_headers)
        return response

    def _shaped(self, scope: Scope) -> Response:
        shaped = error_shapes.shaped(scope, self.status_code, self.code, str(self.detail), self.facts)
        if isinstance(shaped, str):
            headers = {**(self.headers or {}), "Error-Code": self.code}
            return Response(shaped, self.status_code, headers, media_type="text/plain")
        if shaped is not None:
            status, body = shaped
            return Response(orjson.dumps(body), status, self.headers, media_type="application/json")
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
    """Return the problem of what a model refuses; of many errors the first are told, for each item may have its own."""
    where = [{"at": ".".join(map(str, e["loc"])), "message": e["msg"]} for e in errors[:ERRORS_TOLD]]
    return Problem(400, "bad_request", "The request does not fit; see `errors`.", errors=where)


def problem_of(error: Exception) -> Problem:  # noqa: C901 - a table, one row an error
    """Return the problem that an error of the rooms below stands for."""
    match error:
        case Problem():
            return error
        case StreamAbsent():
            return Problem(404, "stream_not_found", "There is no such stream.")
        case StreamDeleted():
            return Problem(410, "stream_deleted", "The stream that this idempotency key started was deleted.")
        case IdempotencyMismatch():
            return Problem(422, "idempotency_mismatch", "This idempotency key was used before with another body.")
        case UnknownModel(model=model, models=models):
            return Problem(422, "unknown_model", str(error), model=model, models=models)
        case MissingProviderKey(provider=provider, variable=variable):
            return Problem(422, "missing_provider_key", str(error), provider=provider, variable=variable)
        case LogFull():
            detail = "The log's server is out of memory: what is there can be read, nothing can be started."
            return Problem(503, "log_full", detail, headers=_RETRY)
        case LogUnavailable(code=code):
            detail = f"The log's server refuses for now ({code}); try again." if code else "The log does not answer."
            return Problem(503, "log_unavailable", detail, headers=_RETRY)
        case UnfitRequestError(at=at):
            return Problem(400, "bad_request", str(error), errors=[{"at": at, "message": str(error)}])
        case RequestValidationError():
            return misfit(error.errors())
        case HTTPException(status_code=status, detail=detail, headers=headers):  # 405 has to name what is allowed
            return Problem(status, _CODES.get(status, "bad_request"), str(detail), headers=headers)
        case _:
            # Servers close the connection behind an error that the app let out: said here, before another request is
            # sent on it.
            closing = {"Connection": "close"}
            return Problem(500, "internal", "Something went wrong here; it was logged.", headers=closing)


async def _answer(request: Request, error: Exception) -> Response:
    return problem_of(error).response(request.scope)


def install(app: FastAPI) -> None:
    """Have every error answered as a problem document."""
    for kind in (
        Problem,
        StreamAbsent,
        StreamDeleted,
        IdempotencyMismatch,
        UnknownModel,
        MissingProviderKey,
        LogUnavailable,
        LogFull,
        RequestValidationError,
        UnfitRequestError,
        HTTPException,
        Exception,
    ):
        app.add_exception_handler(kind, _answer)
