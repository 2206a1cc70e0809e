"""Who is asking. The seam for tokens and limits to come: everything behind it knows a tenant, never a key."""

import hmac
from typing import Annotated

from fastapi import Depends, Request

from broker.http.problems import Problem
from broker.ops.house import House
from broker.settings import OPEN_TENANT


def house(request: Request) -> House:
    """Return the house that this app serves."""
    found: House = request.app.state.house
    return found


def tenant(request: Request) -> str:
    """Return the tenant of the bearer key; in open mode, the one tenant that there is.

    Raises:
        Problem: 401 `unauthorized`.
    """
    tenants_by_key = house(request).settings.tenants_by_key
    if not tenants_by_key:
        return OPEN_TENANT
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    offered = key.strip().encode() if scheme.lower() == "bearer" else b""
    found = None
    for known, name in tenants_by_key.items():  # every key is compared, so that time tells nothing
        if hmac.compare_digest(known.encode(), offered):
            found = name
    if found is None:
        raise Problem(
            401, "unauthorized", "Send a known key: Authorization: Bearer …", headers={"WWW-Authenticate": "Bearer"}
        )
    return found


AHouse = Annotated[House, Depends(house)]
ATenant = Annotated[str, Depends(tenant)]
