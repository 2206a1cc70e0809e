"""Tokens that the installation signs and verifies itself: JWTs with HS256, so that no public key is needed."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import jwt

from midstream.access.refusals import TokenExpiredError, UnauthorizedError

ALGORITHM: Final = "HS256"
MIN_SECRET_BYTES: Final = 32
KEPT_SECRETS: Final = 4


class OwnSignature:
    """Signs and verifies one kind of tokens.

    The first secret signs; tokens of the others are valid until they end, so that secrets can be replaced in turn.

    Args:
        secrets: The secrets, each of `MIN_SECRET_BYTES` or more.
        kind: The `typ` of the tokens' headers.
        audience: Their `aud`, which keeps a token of one kind from being one of another.
    """

    def __init__(self, secrets: Sequence[bytes], kind: str, audience: str) -> None:
        if not secrets or any(len(secret) < MIN_SECRET_BYTES for secret in secrets):
            raise ValueError(f"our tokens need secrets of {MIN_SECRET_BYTES} bytes or more")
        self._secrets = tuple(secrets)
        self._kind = kind
        self._audience = audience

    def adopt(self, secret: bytes) -> None:
        """Sign with another secret from now on. Tokens of those before stay valid, of `KEPT_SECRETS` at most."""
        self._secrets = (secret, *(each for each in self._secrets if each != secret))[:KEPT_SECRETS]

    def token(self, claims: Mapping[str, Any]) -> str:
        """Return a token with these claims; those that are None are left out."""
        present = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode({"aud": self._audience, **present}, self._secrets[0], ALGORITHM, headers={"typ": self._kind})

    def claims(self, token: str) -> dict[str, Any]:
        """Return the claims of a token of ours.

        Raises:
            TokenExpiredError: Its time is over.
            UnauthorizedError: None of our secrets signed it, or it is for another audience.
        """
        for secret in self._secrets:
            try:
                claims: dict[str, Any] = jwt.decode(
                    token, secret, [ALGORITHM], audience=self._audience, options={"require": ["exp", "aud"]}
                )
            except jwt.ExpiredSignatureError:
                raise TokenExpiredError from None
            except jwt.InvalidSignatureError:
                continue
            except jwt.InvalidTokenError as error:
                raise UnauthorizedError(f"a token of ours: {type(error).__name__}") from None
            return claims
        raise UnauthorizedError("a token of ours: no secret of ours signed it")
