"""Session tokens: what a page's cookie holds (PROTOCOL: Access/Cookie).

A session token carries the grant of the credential that it was made from, so it opens what that one opens, and ends
with it at the latest: by its time, or because the API key was revoked.
"""

from collections.abc import Sequence
from typing import Any, Final

from midstream.access.grant import Grant, Scope
from midstream.access.own_signature import OwnSignature
from midstream.access.refusals import UnauthorizedError

TYPE: Final = "midstream-session+jwt"
AUDIENCE: Final = "midstream:session"


class SessionTokens:
    """Signs and verifies session tokens."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._signature = OwnSignature(secrets, TYPE, AUDIENCE)

    def adopt(self, secret: bytes) -> None:
        """Sign with another secret from now on; tokens of those before stay valid."""
        self._signature.adopt(secret)

    def make(self, grant: Grant, *, now_s: float, ttl_s: int) -> tuple[str, int]:
        """Return a token that is valid from `now_s` on for `ttl_s` or to the grant's end, and when it ends."""
        expires_s = int(min(now_s + ttl_s, grant.expires_s or now_s + ttl_s))
        claims = {
            "ten": grant.tenant,
            "sub": grant.user,
            "scp": sorted(grant.scopes),
            "sid": grant.stream,
            "thr": grant.thread,
            "crd": grant.credential,
            "exp": expires_s,
        }
        return self._signature.token(claims), expires_s

    def grant(self, token: str) -> Grant:
        """Return what a token grants. Whether the key that it was made from holds still is the verifier's question.

        Raises:
            TokenExpiredError: Its time is over.
            UnauthorizedError: None of our secrets signed it, or it does not say what a session token says.
        """
        claims = self._signature.claims(token)
        try:
            return _grant(claims)
        except (KeyError, TypeError, ValueError):
            raise UnauthorizedError("session token: a claim does not fit") from None


def _grant(claims: dict[str, Any]) -> Grant:
    scopes = frozenset(Scope(name) for name in claims["scp"])
    user, stream, thread = (claims.get(name) for name in ("sub", "sid", "thr"))
    return Grant(claims["ten"], user, scopes, stream, thread, claims["crd"], float(claims["exp"]))
