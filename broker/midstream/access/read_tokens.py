"""Read tokens: our own signed, short-lived credential for one stream or one thread (PROTOCOL: Access/Read tokens).

A browser may hold one, because it opens nothing else and ends soon.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from midstream.access.grant import MADE_BY_KEY, Grant, Scope
from midstream.access.own_signature import OwnSignature
from midstream.access.refusals import UnauthorizedError

TYPE: Final = "midstream-read+jwt"
"""The `typ` of its header: it tells a read token from an identity provider's token before anything is verified."""
AUDIENCE: Final = "midstream:read"
SCOPES: Final = frozenset({Scope.READ, Scope.STOP, Scope.SEND})
"""What a read token may carry at most."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a read token is for.

    Attributes:
        tenant: The stream's tenant.
        user: The stream's user; None where it has none.
        stream: The stream's id; None for a token of a thread.
        thread: The thread; None for a token of a stream.
        key: The beginning of the hash of the API key that asks for the token; empty: it was another credential.
    """

    tenant: str
    user: str | None
    stream: str | None
    thread: str | None
    key: str = ""


class ReadTokens:
    """Signs and verifies read tokens."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._signature = OwnSignature(secrets, TYPE, AUDIENCE)

    def adopt(self, secret: bytes) -> None:
        """Sign with another secret from now on; tokens of those before stay valid."""
        self._signature.adopt(secret)

    def mint(self, subject: Subject, scopes: frozenset[Scope], *, now_s: float, ttl_s: int) -> str:
        """Return a token that is valid for `ttl_s` seconds from `now_s` on, the time since 1970.

        Raises:
            ValueError: It names both a stream and a thread, or neither, or a scope that a read token cannot carry.
        """
        if (subject.stream is None) == (subject.thread is None):
            raise ValueError("a read token is for one stream or for one thread")
        if not scopes or not scopes <= SCOPES:
            raise ValueError(f"a read token carries some of {', '.join(sorted(SCOPES))}")
        # No `iat`: another broker, whose clock is a second late, would refuse the token as one of the future.
        claims: dict[str, Any] = {
            "ten": subject.tenant,
            "scp": sorted(scopes),
            "exp": int(now_s) + ttl_s,
            "sub": subject.user,
            "sid": subject.stream,
            "thr": subject.thread,
            "key": subject.key or None,
        }
        return self._signature.token(claims)

    def grant(self, token: str) -> Grant:
        """Return what a token grants.

        Raises:
            TokenExpiredError: Its time is over.
            UnauthorizedError: None of our secrets signed it, or it does not say what a read token says.
        """
        return _grant(self._signature.claims(token))


def _grant(claims: dict[str, Any]) -> Grant:
    tenant, user, stream, thread, key = (claims.get(name) for name in ("ten", "sub", "sid", "thr", "key"))
    try:
        scopes = frozenset(Scope(name) for name in claims["scp"])
    except (KeyError, TypeError, ValueError):
        raise UnauthorizedError("read token: unknown scopes") from None
    if not isinstance(tenant, str) or (stream is None) == (thread is None) or not scopes <= SCOPES:
        raise UnauthorizedError("read token: not for one stream or thread")
    credential = f"{MADE_BY_KEY}{key}" if key else "read token"
    return Grant(tenant, user, scopes, stream, thread, credential, float(claims["exp"]))
