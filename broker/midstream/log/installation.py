"""What all processes of one installation share: its secret."""

import secrets
from typing import Final

from redis.asyncio import Redis

from midstream.log.connect import keys_of
from midstream.log.redis_errors import log_errors

SECRET_BYTES: Final = 32


async def installation_secret(redis: Redis, prefix: str, own: bytes | None = None) -> bytes:
    """Return the installation's secret. Where Redis has none, it becomes `own`, or a new one; it has no TTL.

    Raises:
        LogUnavailable: Redis did not answer.
    """
    own = own or secrets.token_hex(SECRET_BYTES).encode()
    with log_errors:
        kept: bytes | None = await redis.set(keys_of(redis, prefix).secret, own, nx=True, get=True)
    return kept or own


async def kept_secret(redis: Redis, prefix: str) -> bytes:
    """Return the installation's secret, empty where Redis has none.

    Raises:
        LogUnavailable: Redis did not answer.
    """
    with log_errors:
        kept: bytes | None = await redis.get(keys_of(redis, prefix).secret)
    return kept or b""
