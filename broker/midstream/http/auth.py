"""Who is calling: a credential becomes a `Caller` here, and nothing after this sees the credential."""

from typing import Annotated, Final

from fastapi import Depends
from starlette.requests import HTTPConnection
from starlette.types import Scope

from midstream.access.app_caller import Caller as AppCaller
from midstream.http.head import head_of
from midstream.http.noted_errors import CALLER, asker_of
from midstream.http.problems import Problem
from midstream.http.session_cookie import session_token
from midstream.operate.operator import Operator
from midstream.service.caller import Caller
from midstream.service.services import Services

BY_APP: Final = "midstream.by_app"
"""Whether a request's scope says that an app has named its sender."""
REFUSAL: Final = "midstream.refusal"
"""Where a request's scope holds the problem by which an app refuses its sender."""
IN_URLS: Final = ("token", "access_token", "key", "api_key")
"""Names under which credentials are put into URLs, where proxies, histories and logs keep them."""


def services_of(scope: Scope) -> Services:
    """Return the services of the app that a request came to."""
    services: Services = scope["app"].services
    return services


def credentials_of(scope: Scope) -> list[str]:
    """Return the credentials of a request: a bearer key or token, and `x-api-key`, which is Anthropic's way.

    Where there is none of these, a page's cookie counts.

    Raises:
        Problem: 400 `credential_in_url`; 403 `foreign_origin`: a page asks that may not do this by a cookie.
    """
    if b"=" in scope.get("query_string", b""):
        for name in IN_URLS:
            if name in HTTPConnection(scope).query_params:
                detail = f"A credential in a URL can be read by others: send `{name}` as Authorization: Bearer …"
                raise Problem(400, "credential_in_url", detail)
    head = head_of(scope)
    credentials = []
    if (authorization := head.get(b"authorization")) is not None:
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() == b"bearer" and (token := token.strip()):
            credentials.append(token.decode("latin-1"))
    if key := head.get(b"x-api-key"):
        credentials.append(key.decode("latin-1"))
    if not credentials and b"cookie" in head and (session := session_token(HTTPConnection(scope))):
        return [session]
    return credentials


async def caller_of(connection: HTTPConnection) -> Caller:
    """Return the caller whose credential a request carries, as `caller_in` does."""
    return await caller_in(connection.scope)


async def operator_of(connection: HTTPConnection) -> Operator:
    """Return the operator whose credential a request carries.

    Raises:
        AccessError: There is no valid credential, or it lacks the scope `operate`.
    """
    return Operator(await caller_in(connection.scope))


async def caller_in(scope: Scope) -> Caller:
    """Return the caller whose credential a request carries. In open mode there is one tenant, and everybody is it.

    Raises:
        AccessError: There is no valid credential.
        Problem: 400 `credential_in_url`; what an app has refused a request with.
    """
    caller: Caller | None = scope.get(CALLER)
    if caller is not None:
        return caller
    if REFUSAL in scope:
        raise scope[REFUSAL]
    return await caller_with(scope, *credentials_of(scope))


async def caller_with(scope: Scope, *credentials: str) -> Caller:
    """Return the caller that the first valid one of these keys and tokens of a request belongs to.

    Raises:
        AccessError: None of them is valid.
    """
    services: Services = scope["app"].services
    caller = scope[CALLER] = await services.caller(asker_of(scope), *credentials)
    return caller


def admit(scope: Scope, services: Services, word: AppCaller | Problem) -> None:
    """Take what an app says of the sender of a request: who it is, or why it is refused (PROTOCOL: Router/Caller)."""
    if isinstance(word, Problem):
        scope[REFUSAL] = word
    else:
        scope[CALLER] = services.trusted_caller(word.grant, asker_of(scope))
        scope[BY_APP] = True


async def _services(connection: HTTPConnection) -> Services:
    return services_of(connection.scope)


AServices = Annotated[Services, Depends(_services)]
ACaller = Annotated[Caller, Depends(caller_of)]
AnOperator = Annotated[Operator, Depends(operator_of)]
