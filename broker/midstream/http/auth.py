"""Who is asking. The seam for tokens and limits to come: everything behind it knows a tenant, never a key."""

import hmac
from typing import Annotated

from fastapi import Depends, Request
from starlette.requests import HTTPConnection
from starlette.types import Scope

from midstream.http.problems import Problem
from midstream.service.services import House
from midstream.settings import OPEN_TENANT, Settings


async def house(request: Request) -> House:
    """Return the house that this app serves."""
    return house_of(request.scope)


def house_of(scope: Scope) -> House:
    """Return the house of the app that was asked."""
    found: House = scope["app"].state.house
    return found


async def tenant(request: HTTPConnection) -> str:
    """Return the tenant that asks. Raises as `tenant_of`."""
    return tenant_of(request)


def tenant_of(request: HTTPConnection) -> str:
    """Return the tenant of the bearer key or of `x-api-key`; in open mode, the one tenant that there is.

    Raises:
        Problem: 401 `unauthorized`.
    """
    settings = house_of(request.scope).settings
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    bearer = key.strip().encode() if scheme.lower() == "bearer" else b""
    found = known_tenant(settings, bearer, request.headers.get("x-api-key", "").encode())  # the latter is Anthropic's
    if found is None:
        raise Problem(
            401, "unauthorized", "Send a known key: Authorization: Bearer …", headers={"WWW-Authenticate": "Bearer"}
        )
    return found


def known_tenant(settings: Settings, *offered: bytes) -> str | None:
    """Return the tenant of a known key among those offered; in open mode, the one tenant that there is."""
    if not settings.tenants_by_key:
        return OPEN_TENANT
    found = None
    for known, name in settings.tenants_by_key.items():  # every key is compared, so that time tells nothing
        for one in offered:
            if hmac.compare_digest(known.encode(), one):
                found = name
    return found


AHouse = Annotated[House, Depends(house)]
ATenant = Annotated[str, Depends(tenant)]
