"""How a process is connected to Redis."""

from redis.asyncio import BlockingConnectionPool, Redis


def connect(url: str, timeout_s: float, connections: int) -> Redis:
    """Return a client with every wait and the pool bounded (FINDINGS 3: redis-py bounds neither by itself).

    Nothing is retried here: a repeated write whose first reply was lost would count twice.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        socket_keepalive=True,
        health_check_interval=15,
    )
    return Redis.from_pool(pool)
