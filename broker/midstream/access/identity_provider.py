"""Tokens of the customer's own identity provider: JWTs with keys that it publishes (PROTOCOL: Access/Jwt).

What an attacker may choose decides nothing here: the algorithms are the setting's, a key is found by `kid` in the
provider's set alone, and the header's `jku`, `jwk`, `x5u` and `x5c` are never read. RFC 8725 gives the reasons.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import jwt
import orjson

from midstream.access.access_settings import ALGORITHMS
from midstream.access.api_keys import TENANT
from midstream.access.grant import Grant, Scope
from midstream.access.refusals import TokenExpiredError, UnauthorizedError

logger = logging.getLogger(__name__)

REFRESH_S: Final = 300.0
"""Keys of this age are read again, so that a withdrawn one is noticed, while requests go on with those of before."""
READ_AGAIN_S: Final = 30.0
"""The keys are not read more often than this, whatever unknown `kid` a token names."""
KEPT_S: Final = 3_600.0
"""How long the last good keys are used while the provider cannot be reached."""
MAX_KEYS: Final = 64
MIN_RSA_BITS: Final = 2_048
MAX_KEYS_BYTES: Final = 65_536

_Named = tuple[str, str]
"""A key's `kid` and the algorithm that it is used with: both are the token's, and both have to fit."""


@dataclass(frozen=True, slots=True)
class Claims:
    """Which claims name tenant, user and scopes.

    Attributes:
        tenant: The claim that holds the tenant; empty where `fixed_tenant` is everybody's.
        user: The claim that holds the user.
        scopes: The claim with the scopes: a list, or one text with blanks between them as OAuth 2.0 has it.
        fixed_tenant: The tenant of all tokens of this provider.
        default_scopes: The scopes of a token without that claim.
    """

    tenant: str = ""
    user: str = "sub"
    scopes: str = "scope"
    fixed_tenant: str = "default"
    default_scopes: frozenset[Scope] = frozenset({Scope.START, Scope.READ, Scope.STOP})


@dataclass(frozen=True, slots=True)
class Provider:
    """What is trusted of one identity provider.

    Attributes:
        issuer: The one `iss`.
        audience: The `aud` that has to be among the token's.
        algorithms: The signatures that are accepted.
        leeway_s: How far the provider's clock may be apart from ours.
    """

    issuer: str
    audience: str
    algorithms: Sequence[str] = ("ES256", "RS256", "EdDSA")
    leeway_s: float = 30.0
    claims: Claims = field(default_factory=Claims)

    def __post_init__(self) -> None:
        if not self.algorithms or set(self.algorithms) - ALGORITHMS:
            raise ValueError(f"algorithms are some of {', '.join(sorted(ALGORITHMS))}")


class IdentityProvider:
    """Verifies the tokens of one provider, with the keys that `fetch` reads (a JSON Web Key Set, RFC 7517)."""

    def __init__(
        self,
        provider: Provider,
        fetch: Callable[[], Awaitable[bytes]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._provider = provider
        self._fetch = fetch
        self._clock = clock
        self._keys: dict[_Named, jwt.PyJWK] = {}
        self._read_s: float | None = None
        self._tried_s: float | None = None
        self._reading: asyncio.Task[None] | None = None

    async def stop(self) -> None:
        """Read no keys any more."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait((self._reading,))

    async def grant(self, token: str) -> Grant:
        """Return what a token grants.

        Raises:
            TokenExpiredError: Its time is over.
            UnauthorizedError: It cannot be trusted.
        """
        key = await self._key(token)
        provider = self._provider
        try:
            claims = jwt.decode(
                token,
                key,
                list(provider.algorithms),
                audience=provider.audience,
                issuer=provider.issuer,
                leeway=provider.leeway_s,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.ExpiredSignatureError:
            raise TokenExpiredError from None
        except jwt.PyJWTError as error:
            raise UnauthorizedError(f"token: {type(error).__name__}") from None
        return self._grant(claims)

    async def _key(self, token: str) -> jwt.PyJWK:
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise UnauthorizedError(f"token: {type(error).__name__}") from None
        kid, algorithm = header.get("kid"), header.get("alg")
        if "crit" in header or not isinstance(kid, str) or algorithm not in self._provider.algorithms:
            raise UnauthorizedError("token: its header has no kid, another algorithm, or critical extensions")
        named = kid, str(algorithm)
        is_usable = named in self._keys and self._age_s() <= KEPT_S
        if not is_usable or self._age_s() > REFRESH_S:
            self._begin_to_read()
        if not is_usable and self._reading is not None and not self._reading.done():
            # One reading serves all who wait for it. It goes on when the client that it began for has left.
            await asyncio.shield(self._reading)
        key = self._keys.get(named)
        if key is None or self._age_s() > KEPT_S:
            raise UnauthorizedError("token: no such key, or the provider's keys cannot be read")
        return key

    def _age_s(self) -> float:
        return math.inf if self._read_s is None else self._clock() - self._read_s

    def _begin_to_read(self) -> None:
        """Begin to read the keys, unless that is under way or was done just now."""
        now_s = self._clock()
        is_read = self._reading is None or self._reading.done()
        if is_read and (self._tried_s is None or now_s - self._tried_s >= READ_AGAIN_S):
            self._tried_s = now_s
            self._reading = asyncio.create_task(self._read(), name="key set")

    async def _read(self) -> None:
        try:
            self._keys = _keys(await self._fetch(), self._provider.algorithms)
        except (OSError, ValueError) as error:
            logger.warning("the keys of the identity provider cannot be read: %r", error)
            return  # the last good keys hold for KEPT_S
        self._read_s = self._clock()

    def _grant(self, claims: Mapping[str, Any]) -> Grant:
        names = self._provider.claims
        tenant = claims.get(names.tenant) if names.tenant else names.fixed_tenant
        user = claims.get(names.user)
        if not isinstance(tenant, str) or not TENANT.fullmatch(tenant):
            raise UnauthorizedError(f"token: the claim {names.tenant} holds no tenant")
        if not isinstance(user, str) or not user:
            raise UnauthorizedError(f"token: the claim {names.user} holds no user")
        try:
            user.encode()
            ends_s = float(claims["exp"]) + self._provider.leeway_s
        except (OverflowError, UnicodeEncodeError):
            raise UnauthorizedError("token: its user is no Unicode, or its end no time") from None
        return Grant(tenant, user, self._scopes(claims), credential="token", expires_s=ends_s)

    def _scopes(self, claims: Mapping[str, Any]) -> frozenset[Scope]:
        names = claims.get(self._provider.claims.scopes)
        if names is None:
            return self._provider.claims.default_scopes
        parts = names.split() if isinstance(names, str) else names
        if not isinstance(parts, list):
            raise UnauthorizedError("token: its scopes are no list")
        # A provider's tokens carry scopes of other services beside ours.
        return frozenset(Scope(part) for part in parts if isinstance(part, str) and part in set(Scope))


def _keys(document: bytes, algorithms: Sequence[str]) -> dict[_Named, jwt.PyJWK]:
    """Return the keys that verify signatures; others of the set are none of ours (RFC 7517, 5).

    A key that names no algorithm is good for each of `algorithms` that fits it.

    Raises:
        ValueError: This is no key set.
    """
    if len(document) > MAX_KEYS_BYTES:
        raise ValueError("the key set is too large")
    key_set = orjson.loads(document)
    rows = key_set.get("keys") if isinstance(key_set, dict) else None
    if not isinstance(rows, list):
        raise ValueError("this is no key set")  # noqa: TRY004 - it comes from outside
    ours = [row for row in rows if isinstance(row, dict) and _is_ours(row)]
    keys: dict[_Named, jwt.PyJWK] = {}
    for row in ours[:MAX_KEYS]:
        for algorithm in algorithms:
            if row.get("alg", algorithm) == algorithm:
                with contextlib.suppress(jwt.PyJWTError):
                    key = jwt.PyJWK.from_dict(row, algorithm)
                    if row["kty"] != "RSA" or key.key.key_size >= MIN_RSA_BITS:
                        keys[row["kid"], algorithm] = key
    return keys


def _is_ours(row: Mapping[str, Any]) -> bool:
    return isinstance(row.get("kid"), str) and row.get("use", "sig") == "sig" and row.get("kty") != "oct"
