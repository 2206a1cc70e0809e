"""Asks Sentinels which server is the primary; `connect.py` does so each time it dials (PROTOCOL: Log/Sentinel).

redis-py's own `Sentinel` has pools and connections of its own, without the bounds and the rounds of `connect.py`.
"""

import asyncio
from typing import Any, Final

from redis.asyncio import ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from midstream.redis_address import SentinelAddress

ASK_S: Final = 1.0
"""The longest wait for one Sentinel."""


class Sentinels:
    """The Sentinels of one address. The one that answered last is asked first.

    Args:
        address: Where they are, and what they are asked for.
        timeout_s: The longest time for one question to all of them.
    """

    def __init__(self, address: SentinelAddress, timeout_s: float) -> None:
        self._service = address.service
        self._urls = [*address.sentinel_urls]
        self._ask_s = min(ASK_S, timeout_s / len(self._urls))

    async def primary(self) -> tuple[str, int]:
        """Return host and port of the primary.

        Raises:
            redis.exceptions.ConnectionError: No Sentinel answers, or none knows the service.
        """
        why = ""
        for url in tuple(self._urls):
            try:
                async with asyncio.timeout(self._ask_s):
                    answer = await _ask(url, self._service)
            except (RedisError, OSError, TimeoutError) as error:
                why = str(error) or type(error).__name__
                continue
            if answer is not None:
                self._urls.sort(key=lambda each: each != url)
                host, port = answer
                return host.decode(), int(port)
            why = "it is unknown to them"
        raise RedisConnectionError(f"no Sentinel names a primary of {self._service}: {why}")

    def doubt(self) -> None:
        """Ask another one first: the server that was named is no primary, or cannot be reached."""
        self._urls = [*self._urls[1:], *self._urls[:1]]


async def _ask(url: str, service: str) -> Any:
    pool = ConnectionPool.from_url(url, lib_name=None, lib_version=None)
    connection = pool.make_connection()  # type: ignore[no-untyped-call]
    try:
        await connection.connect()
        await connection.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service)
        return await connection.read_response()
    finally:
        await connection.disconnect(nowait=True)
