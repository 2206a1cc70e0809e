"""How operators name a stream at the command line."""

from typing import Final
from urllib.parse import quote

TENANT: Final = "default"
"""The tenant of a stream that is named without one."""


def has_tenant(stream_id: str) -> bool:
    """Tell whether it is `TENANT/ID`, as `why`, `queue` and `audit` print it; an id itself has no slash."""
    return "/" in stream_id


def tenant_and_id(stream_id: str, tenant: str | None) -> tuple[str, str]:
    """Return a stream's tenant and id, where it is named by an id and perhaps a tenant, or by `TENANT/ID`."""
    if tenant is None and has_tenant(stream_id):
        tenant, _, stream_id = stream_id.rpartition("/")
    return tenant or TENANT, stream_id


def stream_path(tenant: str, stream_id: str) -> str:
    """Return the path of a stream below `/v1/operate`."""
    return f"streams/{quote(tenant, safe='')}/{quote(stream_id, safe='')}"
