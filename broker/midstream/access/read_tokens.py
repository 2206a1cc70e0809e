"""Read tokens: our own signed, short-lived credential for one stream or one thread (PROTOCOL: Access/Read tokens).

A browser may hold one, because it opens nothing else and ends soon. It is a JWT with HS256; the installation alone
signs and verifies it, so no public key is needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import jwt

from midstream.access.grant import Grant, Scope
from midstream.access.refusals import TokenExpiredError, UnauthorizedError

TYPE: Final = "midstream-read+jwt"
"""The `typ` of its header: it tells a read token from an identity provider's token before anything is verified."""
AUDIENCE: Final = "midstream:read"
ALGORITHM: Final = "HS256"
SCOPES: Final = frozenset({Scope.READ, Scope.STOP, Scope.SEND})
"""What a read token may carry at most."""
MIN_SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Subject:
    """What a read token is for.

    Attributes:
        tenant: The stream's tenant.
        user: The stream's user; None where it has none.
        stream: The stream's id; None for a token of a thread.
        thread: The thread; None for a token of a stream.
    """

    tenant: str
    user: str | None
    stream: str | None
    thread: str | None


class ReadTokens:
    """Signs and verifies read tokens.

    The first secret signs; tokens of the others are valid until they end, so that secrets can be replaced in turn.
    """

    def __init__(self, secrets: Sequence[bytes]) -> None:
        if not secrets or any(len(secret) < MIN_SECRET_BYTES for secret in secrets):
            raise ValueError(f"read tokens need secrets of {MIN_SECRET_BYTES} bytes or more")
        self._secrets = tuple(secrets)

    def mint(self, subject: Subject, scopes: frozenset[Scope], *, now_s: float, ttl_s: int) -> str:
        """Return a token that is valid for `ttl_s` seconds from `now_s` on, the time since 1970.

        Raises:
            ValueError: It names both a stream and a thread, or neither, or a scope that a read token cannot carry.
        """
        if (subject.stream is None) == (subject.thread is None):
            raise ValueError("a read token is for one stream or for one thread")
        if not scopes or not scopes <= SCOPES:
            raise ValueError(f"a read token carries some of {', '.join(sorted(SCOPES))}")
        claims: dict[str, Any] = {
            "aud": AUDIENCE,
            "ten": subject.tenant,
            "scp": sorted(scopes),
            "iat": int(now_s),
            "exp": int(now_s) + ttl_s,
        }
        optional = {"sub": subject.user, "sid": subject.stream, "thr": subject.thread}
        claims |= {name: value for name, value in optional.items() if value is not None}
        return jwt.encode(claims, self._secrets[0], ALGORITHM, headers={"typ": TYPE})

    def grant(self, token: str) -> Grant:
        """Return what a token grants.

        Raises:
            TokenExpiredError: Its time is over.
            UnauthorizedError: None of our secrets signed it, or it does not say what a read token says.
        """
        for secret in self._secrets:
            try:
                claims = jwt.decode(token, secret, [ALGORITHM], audience=AUDIENCE, options={"require": ["exp", "aud"]})
            except jwt.ExpiredSignatureError:
                raise TokenExpiredError from None
            except jwt.InvalidSignatureError:
                continue
            except jwt.InvalidTokenError as error:
                raise UnauthorizedError(f"read token: {error}") from None
            return _grant(claims)
        raise UnauthorizedError("read token: no secret of ours signed it")


def _grant(claims: dict[str, Any]) -> Grant:
    tenant, user, stream, thread = (claims.get(name) for name in ("ten", "sub", "sid", "thr"))
    try:
        scopes = frozenset(Scope(name) for name in claims["scp"])
    except (KeyError, TypeError, ValueError):
        raise UnauthorizedError("read token: unknown scopes") from None
    if not isinstance(tenant, str) or (stream is None) == (thread is None) or not scopes <= SCOPES:
        raise UnauthorizedError("read token: not for one stream or thread")
    return Grant(tenant, user, scopes, stream, thread, "read token", float(claims["exp"]))
