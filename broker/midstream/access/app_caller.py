"""Who is calling, as an app says that serves our endpoints itself (PROTOCOL: Router/Caller)."""

from collections.abc import Iterable
from typing import Final, Self

from midstream.access.api_keys import TENANT
from midstream.access.grant import TENANT_SCOPES, Grant, Scope

DEFAULT_TENANT: Final = "default"
MOST_USER_CHARS: Final = 200
CREDENTIAL: Final = "app"


class Caller:
    """The sender of a request.

    Args:
        tenant: Whose streams these are; 1 to 64 letters, digits, - and _.
        user: The one user whose streams the caller sees; None for all users of the tenant.
        scopes: What the caller may do: `start`, `read`, `stop` and `send`.

    Raises:
        ValueError: One of them does not fit.
    """

    def __init__(
        self,
        tenant: str = DEFAULT_TENANT,
        user: str | None = None,
        scopes: Iterable[str] = tuple(sorted(TENANT_SCOPES)),
    ) -> None:
        if not TENANT.fullmatch(tenant):
            raise ValueError("a tenant is 1 to 64 letters, digits, - and _")
        # An empty name would be that of nobody, and so of everybody: `user` is None for the whole tenant alone.
        if user is not None and not 0 < len(user) <= MOST_USER_CHARS:
            raise ValueError(f"a user has 1 to {MOST_USER_CHARS} characters")
        if user is not None:
            user.encode()  # lone surrogates are a UnicodeEncodeError, which is a ValueError
        granted = frozenset(map(Scope, (scopes,) if isinstance(scopes, str) else scopes))
        if not granted <= TENANT_SCOPES:
            raise ValueError("an app's caller is no operator: the scopes are start, read, stop and send")
        self.grant = Grant(tenant, user, granted, credential=CREDENTIAL)

    @classmethod
    def of_user(cls, user: str) -> Self:
        """Return the user of that name of the tenant `default`."""
        return cls(user=user)
