"""The credentials of one broker process: verified here, and read again where they change (PROTOCOL: Access)."""

import asyncio
import logging
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Final

import httpx2

from midstream.access.access_settings import listed
from midstream.access.allowance import Allowances
from midstream.access.api_keys import ApiKeys, KeysFileError
from midstream.access.grant import ALL_SCOPES, Grant, Scope
from midstream.access.identity_provider import MAX_KEYS_BYTES, Claims, IdentityProvider, Provider
from midstream.access.key_file import keys_of
from midstream.access.read_tokens import ReadTokens
from midstream.access.refusals import AccessError, Ending, TokenExpiredError, UnauthorizedError
from midstream.access.session_tokens import SessionTokens
from midstream.access.verifier import Verifier, is_of_key
from midstream.file_watch import FileWatch
from midstream.service.shared_secret import SharedSecret
from midstream.settings import OPEN_TENANT, Settings

logger = logging.getLogger(__name__)

FETCH_TIMEOUT_S: Final = 5.0
REMEMBERED: Final = 1_024
"""So many pairs of credential and tenant are remembered with what holds for them."""
_PLAIN_JSON: Final = {"Accept": "application/json", "Accept-Encoding": "identity"}
"""A compressed document would be read as it came, lest a small one grow beyond all bounds here."""
OPEN: Final = Grant(OPEN_TENANT, scopes=ALL_SCOPES)


class Credentials:
    """Turns what a client sent into a grant.

    Args:
        settings: Keys, key file, identity provider and secrets.
        secret: The installation's secret, which signs read tokens where no other one is set. It is kept up to date.

    Attributes:
        read_tokens: Makes read tokens.
        session_tokens: Makes session tokens.
        on_change: Called after the key file was read again.
    """

    def __init__(self, settings: Settings, secret: SharedSecret) -> None:
        secrets = [text.encode() for text in listed(settings.token_secrets.get_secret_value())]
        self.read_tokens = ReadTokens(secrets or [secret.value])
        self.session_tokens = SessionTokens(secrets or [secret.value])
        self._secret = secret
        if not secrets:
            secret.on_change = self._adopt
        self.on_change: Callable[[], None] = lambda: None
        self._settings = settings
        self._is_open = settings.is_open
        self._path = settings.keys_file
        self._pairs = ApiKeys.from_pairs(settings.tenants_by_key)
        self._watch = FileWatch(self._path, self._read_again)
        self._provider = _provider(settings)
        keys = self._pairs | self._from_file()
        self._verifier = Verifier(keys, self.read_tokens, self.session_tokens, self._provider)
        self._allowances = self._remembered(keys)

    def start(self) -> None:
        """Begin to look at the key file and at the secret."""
        if not self._is_open:
            self._secret.start()
        self._watch.start()

    async def stop(self) -> None:
        """Look at the key file no longer, nor at the secret and the provider's keys."""
        await self._secret.stop()
        if self._provider is not None:
            await self._provider.stop()
        await self._watch.stop()

    async def grant(self, *credentials: str) -> Grant:
        """Return what the first valid one of these keys and tokens grants; in open mode none is needed.

        Raises:
            UnauthorizedError, TokenExpiredError: None of them is valid.
        """
        if self._is_open:
            return OPEN
        refusals: list[AccessError] = []
        for credential in credentials:
            try:
                return await self._verifier.grant(credential)
            except AccessError as error:
                # That one has expired says more than that another one is unknown.
                refusals = refusals if refusals and isinstance(refusals[0], TokenExpiredError) else [error]
        # Taken out of the list, because an error that a variable of its own traceback holds, and with it all that the
        # request held, waits for the garbage collector.
        raise refusals.pop() if refusals else UnauthorizedError()

    def allowances(self, grant: Grant) -> Allowances:
        """Return what holds for the holder of a grant now: its limits, and the models that it may use."""
        return self._allowances(grant.credential, grant.tenant)

    def _remembered(self, keys: ApiKeys) -> Callable[[str, str], Allowances]:
        """Return a function that tells what holds for a credential and tenant; each tail of theirs asks for it."""
        settings = self._settings
        return lru_cache(REMEMBERED)(lambda credential, tenant: keys.allowances(credential, tenant, settings))

    def can_end(self, grant: Grant) -> bool:
        """Tell whether a grant may be over while this process runs."""
        return grant.expires_s is not None or (self._path is not None and is_of_key(grant))

    def ending(self, grant: Grant) -> Ending | None:
        """Return why a grant is over; None while it is valid."""
        return None if self._is_open else self._verifier.ending(grant)

    def check(self, grant: Grant) -> None:
        """Do nothing while a grant is valid.

        Raises:
            TokenExpiredError: It has expired.
            UnauthorizedError: Its key was revoked.
        """
        if not self.can_end(grant):  # no request pays for what cannot happen
            return
        match self.ending(grant):
            case Ending.EXPIRED:
                raise TokenExpiredError
            case Ending.REVOKED:
                raise UnauthorizedError("a revoked key")

    def _adopt(self, secret: bytes) -> None:
        self.read_tokens.adopt(secret)
        self.session_tokens.adopt(secret)

    def _read_again(self) -> None:
        try:
            keys = self._verifier.keys = self._pairs | self._from_file()
        except KeysFileError as error:
            logger.error("the key file cannot be used, and the keys stay as they were: %s", error)  # noqa: TRY400
            return
        self._allowances = self._remembered(keys)
        logger.info("the key file was read again")
        self.on_change()

    def _from_file(self) -> ApiKeys:
        return ApiKeys({}) if self._path is None else keys_of(self._path)


def _provider(settings: Settings) -> IdentityProvider | None:
    if not settings.jwt_issuer:
        return None
    claims = Claims(
        settings.jwt_tenant_claim,
        settings.jwt_user_claim,
        settings.jwt_scope_claim,
        settings.jwt_tenant,
        frozenset(Scope(name) for name in settings.jwt_scopes.split()),
    )
    provider = Provider(settings.jwt_issuer, settings.jwt_audience, listed(settings.jwt_algorithms), claims=claims)
    return IdentityProvider(provider, lambda: _key_set(settings.jwt_jwks))


async def _key_set(address: str) -> bytes:
    """Return a provider's key set; of a larger one, as much as shows that it is too large.

    Raises:
        OSError: It cannot be read.
    """
    if "://" not in address:
        return await asyncio.to_thread(Path(address).read_bytes)
    document = b""
    try:
        async with (
            asyncio.timeout(FETCH_TIMEOUT_S),
            httpx2.AsyncClient(follow_redirects=False, trust_env=False) as client,
            client.stream("GET", address, headers=_PLAIN_JSON) as response,
        ):
            response.raise_for_status()
            async for chunk in response.aiter_raw():
                document += chunk
                if len(document) > MAX_KEYS_BYTES:
                    break
    except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:
        raise OSError(repr(error)) from error
    return document
