"""What all processes of one installation share: its secret."""

import secrets
from typing import Final

from redis.asyncio import Redis

from midstream.log.keys import Keys
from midstream.log.redis_errors import log_errors

SECRET_BYTES: Final = 32


async def installation_secret(redis: Redis, prefix: str) -> bytes:
    """Return the installation's secret. The first process that asks makes it; it has no TTL.

    Raises:
        LogUnavailable: Redis did not answer.
    """
    key = Keys(prefix).secret
    with log_errors:
        await redis.set(key, secrets.token_hex(SECRET_BYTES), nx=True)
        secret = await redis.get(key)
    assert isinstance(secret, bytes)  # noqa: S101 - it was written just now
    return secret
