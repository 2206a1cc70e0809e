"""One verifier of all credentials: API keys, tokens of an identity provider, our read tokens (PROTOCOL: Access)."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import jwt

from midstream.access.api_keys import ApiKeys
from midstream.access.grant import KEY, MADE_BY_KEY, Grant
from midstream.access.identity_provider import IdentityProvider
from midstream.access.read_tokens import TYPE, ReadTokens
from midstream.access.refusals import Ending, TokenExpiredError, UnauthorizedError
from midstream.access.session_tokens import TYPE as SESSION
from midstream.access.session_tokens import SessionTokens

MAX_CREDENTIAL_BYTES: Final = 8_192
CACHED_TOKENS: Final = 10_000
"""A signature costs 60 to 130 µs; a storm of clients that come back would pay it for each."""


class Verifier:
    """Turns the credential that a client sends into a grant, or refuses it.

    Attributes:
        keys: The API keys that are valid now; replace them when the key file has changed.
    """

    def __init__(
        self,
        keys: ApiKeys,
        read_tokens: ReadTokens,
        sessions: SessionTokens,
        provider: IdentityProvider | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.keys = keys
        self._read_tokens = read_tokens
        self._sessions = sessions
        self._provider = provider
        self._clock = clock
        self._cached: OrderedDict[bytes, Grant] = OrderedDict()

    async def grant(self, credential: str) -> Grant:
        """Return what a key or token grants.

        Raises:
            TokenExpiredError: It was valid once.
            UnauthorizedError: It is unknown, or cannot be trusted.
        """
        if not credential or len(credential) > MAX_CREDENTIAL_BYTES or not credential.isascii():
            raise UnauthorizedError
        key = self.keys.grant(credential)
        if key is not None:
            return self._current(key)
        named = hashlib.sha256(credential.encode()).digest()
        cached = self._cached.get(named)
        if cached is None:
            cached = self._cached[named] = await self._verified(credential)
            if len(self._cached) > CACHED_TOKENS:
                self._cached.popitem(last=False)
        self._cached.move_to_end(named)
        if is_of_key(cached) and not self.keys.holds(cached):
            raise UnauthorizedError("the session or read token of a revoked key")
        return self._current(cached)

    def ending(self, grant: Grant) -> Ending | None:
        """Return why a grant that was made before is over; None while it is valid."""
        if grant.expires_s is not None and self._clock() >= grant.expires_s:
            return Ending.EXPIRED
        return Ending.REVOKED if is_of_key(grant) and not self.keys.holds(grant) else None

    def _current(self, grant: Grant) -> Grant:
        if grant.expires_s is not None and self._clock() >= grant.expires_s:
            raise TokenExpiredError
        return grant

    async def _verified(self, token: str) -> Grant:
        try:
            kind = jwt.get_unverified_header(token).get("typ")
        except jwt.PyJWTError:
            raise UnauthorizedError("an unknown key") from None
        if kind == TYPE:
            return self._read_tokens.grant(token)
        if kind == SESSION:
            return self._sessions.grant(token)
        if self._provider is None:
            raise UnauthorizedError("token: no identity provider is set up")
        return await self._provider.grant(token)


def is_of_key(grant: Grant) -> bool:
    """Tell whether an API key made a grant, or a read token that it is of; a key can be revoked."""
    return grant.credential.startswith((KEY, MADE_BY_KEY))
