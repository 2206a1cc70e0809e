"""Who is calling: a credential becomes a `Caller` here, and nothing after this sees the credential."""

import hmac
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection
from starlette.types import Scope

from midstream.http.problems import Problem
from midstream.service.caller import Caller
from midstream.service.services import Services
from midstream.settings import OPEN_TENANT, Settings


def services_of(scope: Scope) -> Services:
    """Return the services of the app that a request came to."""
    services: Services = scope["app"].state.services
    return services


def caller_of(connection: HTTPConnection) -> Caller:
    """Return the caller whose key a request carries, as a bearer key or as `x-api-key`, which is Anthropic's way.

    In open mode there is one tenant, and everybody is it.

    Raises:
        Problem: 401 `unauthorized`.
    """
    scheme, _, key = connection.headers.get("authorization", "").partition(" ")
    bearer = key.strip().encode() if scheme.lower() == "bearer" else b""
    services = services_of(connection.scope)
    caller = caller_with_key(services, bearer, connection.headers.get("x-api-key", "").encode())
    if caller is None:
        detail = "Send a known key: Authorization: Bearer …"
        raise Problem(401, "unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})
    return caller


def caller_with_key(services: Services, *keys: bytes) -> Caller | None:
    """Return the caller that one of these keys belongs to, or None; in open mode no key is needed."""
    tenant = _tenant_of(services.settings, keys)
    return None if tenant is None else services.caller(tenant)


def _tenant_of(settings: Settings, keys: tuple[bytes, ...]) -> str | None:
    if not settings.tenants_by_key:
        return OPEN_TENANT
    tenant = None
    for valid_key, its_tenant in settings.tenants_by_key.items():  # all are compared, so that the time tells nothing
        for key in keys:
            if hmac.compare_digest(valid_key.encode(), key):
                tenant = its_tenant
    return tenant


async def _services(connection: HTTPConnection) -> Services:
    return services_of(connection.scope)


async def _caller(connection: HTTPConnection) -> Caller:
    return caller_of(connection)


AServices = Annotated[Services, Depends(_services)]
ACaller = Annotated[Caller, Depends(_caller)]
