"""How the server that holds the log does: memory, persistence, what is slow (PROTOCOL: Operate/Redis)."""

from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from midstream.log.durability import examine, setting
from midstream.log.entries import Json
from midstream.log.redis_errors import log_errors
from midstream.operate.operator import Operator

SLOWEST: Final = 10
"""How many lines of the slow log are looked at for the worst one."""
SHORTEST_SPAN_MS: Final = 900_000
"""Readings over a shorter time than this foretell nothing."""
HOUR_MS: Final = 3_600_000
SECTIONS: Final = ("server", "clients", "memory", "persistence", "stats", "replication")


async def redis_report(operator: Operator) -> Json:
    """Return what the server says of itself, and until when its memory lasts if it goes on as in the last hours."""
    operations = operator.resources.operations
    redis = operations.redis
    readings = await operations.memory.readings()
    with log_errors:
        info: dict[str, Any] = await redis.info(*SECTIONS)  # type: ignore[arg-type]  # the library's type is wrong
    policy = await setting(redis, "maxmemory-policy")
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    return {
        "server": "valkey" if "valkey_version" in info else "redis",
        "version": str(info.get("valkey_version") or info.get("redis_version") or ""),
        "role": info.get("role"),
        "uptime_s": info.get("uptime_in_seconds"),
        "clients": info.get("connected_clients"),
        "commands_per_s": info.get("instantaneous_ops_per_sec"),
        "memory": {
            "used_bytes": used,
            "peak_bytes": info.get("used_memory_peak"),
            "max_bytes": most or None,
            "left_bytes": max(0, most - used) if most else None,
            "fragmentation": info.get("mem_fragmentation_ratio"),
            "forecast": forecast(readings, used, most),
        },
        "persistence": {
            "appendonly": bool(info.get("aof_enabled")),
            "appendfsync": await setting(redis, "appendfsync") or None,
            "aof_bytes": info.get("aof_current_size"),
            "is_rewriting": bool(info.get("aof_rewrite_in_progress")),
            "last_write": info.get("aof_last_write_status"),
            "last_snapshot": info.get("rdb_last_bgsave_status"),
        },
        "eviction": {"policy": policy or None, "evicted_keys": info.get("evicted_keys")},
        "slow_log": await _slow_log(redis),
        "warnings": await examine(redis),
    }


async def _slow_log(redis: Redis) -> Json | None:
    """Return how long the slow log is, and the slowest of its last lines; None: the server does not tell."""
    try:
        length = int(await redis.slowlog_len())
        lines = await redis.slowlog_get(SLOWEST)
    except RedisError:
        return None
    worst = max(lines, key=lambda line: line["duration"], default=None)
    if worst is None:
        return {"length": length, "worst": None}
    command = bytes(worst["command"]).split(b" ", 1)[0].decode(errors="replace")  # its words may hold content
    return {
        "length": length,
        "worst": {"command": command, "took_ms": worst["duration"] / 1000, "at_ms": worst["start_time"] * 1000},
    }


def forecast(readings: Sequence[tuple[int, int]], used_bytes: int, max_bytes: int) -> Json | None:
    """Return by how much the memory grows, and in how many hours it is full; None: too little is known.

    It is a line through the readings by least squares. Memory that does not grow is never full.

    Args:
        readings: Times in ms and used bytes, the oldest first.
        used_bytes: What is used now.
        max_bytes: The most that the server takes; 0: no limit.
    """
    if not readings or readings[-1][0] - readings[0][0] < SHORTEST_SPAN_MS:
        return None
    hours = [(at_ms - readings[0][0]) / HOUR_MS for at_ms, _ in readings]
    mean_hour, mean_bytes = sum(hours) / len(hours), sum(used for _, used in readings) / len(readings)
    spread = sum((hour - mean_hour) ** 2 for hour in hours)
    slope = sum((hour - mean_hour) * (used - mean_bytes) for hour, (_, used) in zip(hours, readings, strict=True))
    growth = slope / spread
    left = max(0, max_bytes - used_bytes)
    return {
        "bytes_per_hour": round(growth),
        "hours_left": round(left / growth, 1) if growth > 0 and max_bytes else None,
        "readings": len(readings),
        "span_hours": round(hours[-1], 1),
    }
