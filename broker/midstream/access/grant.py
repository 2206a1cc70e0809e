"""What a credential grants: whose streams, and what may be done with them (PROTOCOL: Access)."""

import hashlib
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Self

from midstream.access.refusals import InsufficientScopeError


class Scope(StrEnum):
    """What a credential may be used for."""

    START = "start"
    READ = "read"
    STOP = "stop"
    SEND = "send"
    OPERATE = "operate"


ALL_SCOPES: Final = frozenset(Scope)
TENANT_SCOPES: Final = ALL_SCOPES - {Scope.OPERATE}
"""What a key may do that names no scopes: everything of its own tenant's."""
KEY: Final = "key:"
"""The credential of a key's grant begins with it."""
MADE_BY_KEY: Final = "read token/"
"""The credential of a read token that a key made begins with it; the beginning of the key's hash follows."""
OWNER_CHARS: Final = 32


def owner_of(tenant: str, user: str | None) -> str:
    """Return what a stream of this tenant and user is filed under; a user's name may hold anything, so it is hashed."""
    return f"{tenant}/{hashlib.sha256(user.encode()).hexdigest()[:OWNER_CHARS]}" if user else tenant


@dataclass(frozen=True, slots=True)
class Grant:
    """What one credential grants; it comes from the credential alone, never from a body.

    Attributes:
        tenant: Whose streams these are.
        user: The one user whose streams may be seen; None for all users of the tenant.
        scopes: What may be done.
        stream: The only stream that the credential is for; None for any.
        thread: The only thread that the credential is for; None for any.
        credential: The name of the key, or the kind of token. Names what to cut when a key is revoked.
        expires_s: When the credential ends, in seconds since 1970; None for never.
    """

    tenant: str
    user: str | None = None
    scopes: frozenset[Scope] = TENANT_SCOPES
    stream: str | None = None
    thread: str | None = None
    credential: str = ""
    expires_s: float | None = None

    def require(self, *scopes: Scope) -> None:
        """Refuse unless one of these scopes is among the granted ones.

        Raises:
            InsufficientScopeError: The credential is not good for this.
        """
        if self.scopes.isdisjoint(scopes):
            raise InsufficientScopeError(scopes[0].value)

    def require_whole_tenant(self, scope: Scope) -> None:
        """Refuse unless the credential opens all streams of its tenant.

        Raises:
            InsufficientScopeError: It is a user's, or a read token; it names `scope`.
        """
        if not self.is_of_whole_tenant:
            raise InsufficientScopeError(scope)

    @property
    def is_narrow(self) -> bool:
        """Whether the credential is for one stream or one thread alone."""
        return self.stream is not None or self.thread is not None

    @property
    def is_of_whole_tenant(self) -> bool:
        """Whether the credential opens all streams of its tenant."""
        return self.user is None and self.stream is None and self.thread is None

    @property
    def names(self) -> dict[str, str | None]:
        """Who this is, as the audit names it."""
        return {"tenant": self.tenant, "user": self.user, "credential": self.credential}

    @property
    def owner(self) -> str:
        """What streams are filed under that this credential starts: the tenant, or one user of it."""
        return owner_of(self.tenant, self.user)

    def acting_for(self, user: str | None) -> Self:
        """Return this grant narrowed to one user, whom a credential of the whole tenant may name.

        Raises:
            ValueError: The credential is another user's.
        """
        if user in (None, self.user):
            return self
        if self.user is not None:
            raise ValueError("the credential is another user's")
        return replace(self, user=user)

    def is_renewed_by(self, other: "Grant") -> bool:
        """Tell whether another grant opens the same streams, so that what was opened by this one may go on by it."""
        same = ("tenant", "user", "stream", "thread")
        return all(getattr(self, name) == getattr(other, name) for name in same) and (
            Scope.READ in other.scopes or Scope.READ not in self.scopes
        )

    def covers(self, tenant: str, user: str | None, stream_id: str, thread: str | None) -> bool:
        """Tell whether a stream with this tenant, user, id and thread is one that the credential opens (I7)."""
        return (
            tenant == self.tenant
            and (self.user is None or user == self.user)
            and (self.stream is None or stream_id == self.stream)
            and (self.thread is None or thread == self.thread)
        )
