"""Whether the server can hold a log, and what it could lose; processes log this at their start.

Where the figures come from is in docs/findings.md: Redis.
"""

import logging
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from midstream.log.cluster import ClusterRedis
from midstream.log.connect import has_sentinels, servers_of
from midstream.log.errors import LogUnavailable, UnfitServer
from midstream.log.redis_errors import log_errors

logger = logging.getLogger(__name__)

LEAST_REPLICAS: Final = "min-replicas-to-write"
LOG_VARIABLE: Final = "MIDSTREAM_REDIS_URL"
_MAY_NOT_WAIT: Final = "the user of Redis may not run WAIT; deploy/users.acl allows it."
OLDEST: Final = (7, 0)
"""Script flags, by which the terminal entry is written to a full server, came with Redis 7.0."""

_UNFIT: Final = {
    "cluster": "leads to one node of a Redis Cluster; write redis+cluster://host:port,host:port for a log on a cluster",
    "sentinel": "leads to a Sentinel; write redis+sentinel://host:port,host:port/<service>, with the primary's name",
}
_NO_CLUSTER: Final = "cluster support disabled"


async def refuse_unfit(redis: Redis, variable: str = LOG_VARIABLE) -> None:
    """Return if the server is of a kind that can hold a log or a queue, or if it does not answer yet.

    Raises:
        UnfitServer: It is a node of a cluster, or no node where one is asked for, or a Sentinel; the text names the
            variable that leads to it.
    """
    try:
        with log_errors:
            server: dict[str, Any] = await redis.info("server")
    except LogUnavailable as error:
        if _NO_CLUSTER in str(error):
            raise UnfitServer(f"{variable} leads to a server that is no node of a cluster.") from None
        return
    mode = server.get("server_mode") or server.get("redis_mode")  # Valkey's name, and Redis'
    why = _UNFIT.get(str(mode))
    if why and not isinstance(redis, ClusterRedis):
        raise UnfitServer(f"{variable} {why}.")


async def examine(redis: Redis) -> list[str]:
    """Return a sentence for each way in which this server, or a node of this cluster, may lose what it acknowledged."""
    servers = servers_of(redis)
    return [*dict.fromkeys([sentence for server in servers for sentence in await _examine(server)])]


async def _examine(redis: Redis) -> list[str]:
    try:
        persistence: dict[str, Any] = await redis.info("persistence")
        server: dict[str, Any] = await redis.info("server")
        replication: dict[str, Any] = await redis.info("replication")
        least, lag_s = await setting(redis, LEAST_REPLICAS), await setting(redis, "min-replicas-max-lag")
        fsync = await setting(redis, "appendfsync")
        policy = await setting(redis, "maxmemory-policy")
    except (RedisError, OSError) as error:
        return [f"The server's persistence could not be read: {error}."]
    return [
        *_about_disk(persistence, fsync),
        *_about_memory(policy),
        *_about_version(server),
        *(_about_failover(least, lag_s) if _replicas(redis, replication, least) else []),
    ]


async def replicas_to_wait_for(redis: Redis, *, must_wait: bool) -> int:
    """Return how many replicas have to have a write, so that a failover keeps it; 0: nothing takes the server's place.

    Also 0, with a warning, where the user may not wait for them, as with an older `users.acl`, unless it `must_wait`.

    Raises:
        LogUnavailable: Redis did not answer.
        UnfitServer: It `must_wait`, and may not.
    """
    with log_errors:
        number = 0
        for server in servers_of(redis):
            least = await setting(server, LEAST_REPLICAS)
            number = max(number, _replicas(server, await server.info("replication"), least))
        if not number:
            return 0
        try:
            await redis.execute_command("WAIT", 0, 1)  # type: ignore[no-untyped-call]
        except NoPermissionError:
            if must_wait:
                raise UnfitServer(f"MIDSTREAM_DURABLE_INTENT cannot hold here: {_MAY_NOT_WAIT}") from None
            logger.warning("A failover may lose ends: %s", _MAY_NOT_WAIT)
            return 0
    return number


def _replicas(redis: Redis, replication: dict[str, Any], least: str) -> int:
    has_replicas = int(replication.get("connected_slaves", 0)) > 0
    return max(int(least or 0), int(has_replicas or has_sentinels(redis)))


def _about_failover(least: str, lag_s: str) -> list[str]:
    if not least:
        bound = "how many, the server does not tell"
    elif int(least):
        bound = f"min-replicas-to-write bounds that to about {lag_s} s"
    else:
        bound = "min-replicas-to-write is 0, so a primary that was cut off accepts more of them; set it to 1"
    return [
        (
            f"A failover loses the last writes that the replica had not got yet ({bound}). Clients ahead of the log "
            "are then told `reset`, and a call begun in that time could be made again; MIDSTREAM_DURABLE_INTENT=true "
            "waits for a replica before each call."
        )
    ]


def _about_disk(persistence: dict[str, Any], fsync: str) -> list[str]:
    if not int(persistence.get("aof_enabled", 0)):
        return ["The append-only file is off: a restart of the server loses streams. Set `appendonly yes`."]
    if fsync == "everysec":
        return [
            (
                "appendfsync is `everysec`: a crash of the server loses nothing, a power loss about the last second. "
                "Clients ahead of the log are then told `reset`, and a call begun in that second could be made again; "
                "`appendfsync always` excludes that; so does MIDSTREAM_DURABLE_INTENT=true, where it can hold."
            )
        ]
    if not fsync:
        return [
            "The server does not tell its appendfsync: unless that is `always`, a power loss may lose what it has said."
        ]
    if fsync == "no":
        return ["appendfsync is `no`: a power loss loses what the system had not yet written by itself."]
    return []


def _about_memory(policy: str) -> list[str]:
    if policy not in ("noeviction", ""):
        return [f"maxmemory-policy is `{policy}`: a full server evicts live streams. Set `noeviction`."]
    return []


def _about_version(server: dict[str, Any]) -> list[str]:
    version = str(server.get("valkey_version") or server.get("redis_version") or "")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers and numbers < OLDEST:
        return [f"The server is version {version}; midstream needs Redis 7.0 or Valkey."]
    return []


async def setting(redis: Redis, name: str) -> str:
    """Return a setting of the server; empty if it does not tell."""
    try:
        answer: dict[str, str] = await redis.config_get(name)
    except ResponseError:  # hosted servers often forbid CONFIG
        return ""
    return str(answer.get(name, ""))
