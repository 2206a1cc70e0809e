"""Notes errors before they are answered: what was refused, and which request ended in a failure of ours."""

from typing import Final

from fastapi import FastAPI, Request, Response
from starlette.types import Scope

from midstream import counters
from midstream.access.refusals import AccessError, UnauthorizedError
from midstream.http.head import head_of
from midstream.http.problems import ANSWERED, Problem, problem_of
from midstream.http.request_ids import request_id
from midstream.journal import audit
from midstream.journal.audit import Asker

CALLER: Final = "midstream.caller"
"""Where a request's scope holds its caller, once the credential was verified."""
_REFUSALS: Final = frozenset(("credential_in_url", "foreign_origin", "other_caller", "unknown_host"))
"""Codes of problems that are refusals as well (PROTOCOL: Access/Refused)."""


def asker_of(scope: Scope) -> Asker:
    """Return where a request comes from."""
    client = scope.get("client")
    return Asker(request_id(scope), client[0] if client else "", head_of(scope).get(b"traceparent", b""))


def noted(error: Exception, scope: Scope) -> Problem:
    """Return the problem that an error stands for; a refusal is in the audit by then (PROTOCOL: Logs/Audit)."""
    problem = problem_of(error)
    if isinstance(error, AccessError) or problem.code in _REFUSALS:
        caller = scope.get(CALLER)
        reason = error.reason if isinstance(error, UnauthorizedError) else str(problem.detail)
        counters.count("credentials_refused", problem.code)
        audit.refused(problem.code, asker_of(scope), **(caller.names if caller else {}), reason=reason)
    elif problem.code == "internal":
        setattr(error, audit.REQUEST, request_id(scope))  # the line that is logged of the error shows it
    return problem


def install(app: FastAPI) -> None:
    """Have every error answered as a problem document."""
    for kind in ANSWERED:
        app.add_exception_handler(kind, _answer)


async def _answer(request: Request, error: Exception) -> Response:
    return noted(error, request.scope).response(request.scope)
