"""What is wrong, or unsafe, in an installation: a pure function of what was read of it (PROTOCOL: Operate/Doctor)."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from midstream.log.durability import OLDEST
from midstream.log.entries import Json
from midstream.settings import Settings

Level = Literal["ok", "warning", "fault"]

SKEW_MS: Final = 1_000
WORST_SKEW_MS: Final = 60_000
"""By how much a clock may be apart before it is a fault: tokens and sessions are dated by the broker's clock."""
LAG_MS: Final = 500
SLOW_MS: Final = 100
WAIT_S: Final = 10
UNTAKEN_S: Final = 300
"""How long an end may wait for its outlet: a receiver that is started anew is back by then."""
LITTLE_LEFT: Final = 0.25
LEAST_LEFT: Final = 0.1
SOON_HOURS: Final = 24
LATE_LEASES: Final = 2 / 3
LEASES_BEFORE_OUTDATED: Final = 2
MOST_OF_MEMORY: Final = 0.5
FILES_APART: Final = 256


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: What was looked at.
        level: `ok`, `warning` (it works, and may not later), or `fault` (it does not work, or loses data).
        message: What there is, and what to do about it.
    """

    check: str
    level: Level
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What was read of an installation.

    Attributes:
        settings: The settings of the broker that was asked.
        redis, workers, brokers, queue, outlets: The answers to operators of the same names.
        fast_path: Why tails are not written past the server; None: they are.
        open_files: How many files the broker may have open.
        memory_bytes: The memory of the broker's machine; 0: unknown.
    """

    settings: Settings
    redis: Json
    workers: Sequence[Json]
    brokers: Sequence[Json]
    queue: Json
    outlets: Json
    fast_path: str | None
    open_files: int
    memory_bytes: int


def diagnose(readings: Readings) -> list[Finding]:
    """Return a finding for each check; a check that finds several things wrong has one for each."""
    checks = {
        "redis version": _version(readings.redis),
        "persistence": _persistence(readings.redis["persistence"]),
        "eviction": _eviction(readings.redis["eviction"]),
        "memory": _memory(readings.redis["memory"]),
        "slow log": _slow_log(readings.redis["slow_log"]),
        "clocks": _clocks([*readings.workers, *readings.brokers]),
        "workers": _workers(readings.workers),
        "brokers": _brokers([*readings.workers, *readings.brokers]),
        "queue": _queue(readings.queue),
        "outlets": _outlets(readings.outlets),
        "settings": _settings(readings.settings, [*readings.workers, *readings.brokers]),
        "bounds": _bounds(readings),
        "fast path": _fast_path(readings),
    }
    findings: list[Finding] = []
    for check, rows in checks.items():
        faults = [Finding(check, level, message) for level, message in rows]
        findings += faults or [Finding(check, "ok", GOOD[check])]
    return findings


GOOD: Final = {
    "redis version": "The server is new enough.",
    "persistence": "The append-only file is on, and its last write succeeded.",
    "eviction": "The server evicts nothing.",
    "memory": "There is room.",
    "slow log": "No command was slow.",
    "clocks": "All clocks agree.",
    "workers": "Workers are alive, and have room.",
    "brokers": "All processes are of one version, and their event loops turn in time.",
    "queue": "Nothing waits for long, and every slip has its stream.",
    "outlets": "All outlets take their ends.",
    "settings": "No setting contradicts another one.",
    "bounds": "The limits fit the machine.",
    "fast path": "Tails write past the server to their connections.",
}
Rows = Iterator[tuple[Level, str]]


def _version(redis: Json) -> Rows:
    numbers = tuple(map(int, re.findall(r"\d+", redis["version"])[:2]))
    if numbers and numbers < OLDEST:
        yield "fault", f"{redis['server']} {redis['version']} is too old; Redis 7.0 or Valkey is needed."
    if redis["role"] not in (None, "master"):
        yield (
            "fault",
            f"The server is a {redis['role']}, which takes no writes; name the primary in MIDSTREAM_REDIS_URL.",
        )


def _persistence(persistence: Json) -> Rows:
    fsync = persistence["appendfsync"]
    if not persistence["appendonly"]:
        yield "fault", "The append-only file is off: a restart of the server loses streams. Set `appendonly yes`."
    elif fsync == "no":
        yield "warning", "appendfsync is `no`: a power loss loses what the system had not yet written."
    elif fsync == "everysec":
        yield "ok", "The append-only file is on; a power loss may lose about its last second (`appendfsync everysec`)."
    for what, status in (("append-only file", persistence["last_write"]), ("snapshot", persistence["last_snapshot"])):
        if status not in (None, "ok"):
            yield "fault", f"The last write of the {what} failed ({status}); look at the server's disk."


def _eviction(eviction: Json) -> Rows:
    if eviction["policy"] not in (None, "noeviction"):
        yield (
            "fault",
            f"maxmemory-policy is `{eviction['policy']}`: a full server evicts live streams. Set `noeviction`.",
        )
    if eviction["evicted_keys"]:
        yield "fault", f"The server has evicted {eviction['evicted_keys']} keys: streams were lost."


def _memory(memory: Json) -> Rows:
    most, left, forecast = memory["max_bytes"], memory["left_bytes"], memory["forecast"]
    if not most:
        yield "warning", "The server has no maxmemory: when the machine is out of memory, the system may kill it."
    elif left < most * LEAST_LEFT:
        yield "fault", f"Only {left / most:.0%} of maxmemory is left: starts will be refused with log_full."
    elif left < most * LITTLE_LEFT:
        yield "warning", f"{left / most:.0%} of maxmemory is left."
    if forecast and forecast["hours_left"] is not None and forecast["hours_left"] < SOON_HOURS:
        yield "warning", f"At the growth of the last hours, the memory is full in {forecast['hours_left']} hours."


def _slow_log(slow_log: Json | None) -> Rows:
    if slow_log is None:
        yield "ok", "The server does not tell its slow log."
    elif slow_log["worst"] and slow_log["worst"]["took_ms"] > SLOW_MS:
        worst = slow_log["worst"]
        yield "warning", f"{worst['command']} took the server {worst['took_ms']:.0f} ms; everybody waited for it."


def _clocks(processes: Sequence[Json]) -> Rows:
    for each in processes:
        apart_ms = abs(each["clock_skew_ms"])
        if apart_ms > SKEW_MS:
            level: Level = "fault" if apart_ms > WORST_SKEW_MS else "warning"
            yield (
                level,
                f"The clock of {each['name']} is {each['clock_skew_ms'] / 1000:+.1f} s apart from the server's.",
            )


def _workers(workers: Sequence[Json]) -> Rows:
    alive = [each for each in workers if each["alive"]]
    ready = [each for each in alive if not each["draining"]]
    if not alive:
        yield (
            "fault",
            "No worker is alive: streams wait, and end after MIDSTREAM_QUEUE_TIMEOUT_S. Run `midstream worker`.",
        )
    elif not ready:
        yield "fault", "Every worker is draining, so nothing takes new streams."
    elif not any(each["free"] for each in ready):
        yield "warning", f"All {sum(each['slots'] for each in ready)} slots are taken; start another worker."
    for each in alive:
        if each["renewal_age_ms"] > each["lease_ms"] * LATE_LEASES:
            late_s = each["renewal_age_ms"] / 1000
            yield "warning", f"{each['name']} has renewed no lease for {late_s:.1f} s, and takes no more streams."


def _brokers(processes: Sequence[Json]) -> Rows:
    versions = {each["version"] for each in processes}
    if len(versions) > 1:
        yield "warning", f"Processes run several versions: {', '.join(sorted(versions))}. Finish the upgrade."
    for each in processes:
        if not each["alive"]:
            yield "warning", f"{each['name']} has been silent for {each['silent_ms'] / 1000:.0f} s; it may have died."
        elif each["loop_lag_ms"] > LAG_MS:
            yield "warning", f"The event loop of {each['name']} lags by {each['loop_lag_ms']:.0f} ms."


def _queue(queue: Json) -> Rows:
    if queue["oldest_age_s"] > WAIT_S:
        yield "warning", f"{queue['depth']} slips wait, the oldest for {queue['oldest_age_s']:.0f} s."
    for name, what in (("slips_without_stream", "slips without a stream"), ("streams_without_slip", "lost slips")):
        if queue[name]["number"]:
            yield "warning", f"There are {queue[name]['number']} {what}; a reaper should mend that within seconds."


def _outlets(outlets: Json) -> Rows:
    for each in outlets["data"]:
        if each["lost"]:
            yield "warning", f"{each['name']} was never told of {each['lost']} ends, because its outbox was full."
        if each["abandoned"]:
            again = f"`midstream outlets {each['name']} --send-again` sends them again"
            yield "warning", f"{each['name']} did not take {each['abandoned']} ends, and they were given up; {again}."
        waits_s = 0 if each["oldest_ms"] is None else (outlets["now_ms"] - each["oldest_ms"]) / 1000
        if waits_s > UNTAKEN_S:
            yield "warning", f"{each['waiting']} ends wait for {each['name']}, the oldest for {waits_s:.0f} s."


def _settings(settings: Settings, processes: Sequence[Json]) -> Rows:
    lease_s = settings.lease_ms / 1000
    if settings.queue_timeout_s * 1000 <= settings.requeue_ms:
        yield (
            "fault",
            "MIDSTREAM_REQUEUE_MS is not below MIDSTREAM_QUEUE_TIMEOUT_S: a lost slip is never written again.",
        )
    if settings.outdated_after_s <= LEASES_BEFORE_OUTDATED * lease_s:
        yield "fault", "MIDSTREAM_OUTDATED_AFTER_S is not above two leases: a short outage ends streams as `outdated`."
    if settings.idle_timeout_s > settings.generation_timeout_s:
        yield "warning", "MIDSTREAM_IDLE_TIMEOUT_S is above MIDSTREAM_GENERATION_TIMEOUT_S, so it never takes effect."
    if settings.redis_timeout_s > lease_s:
        yield "warning", "MIDSTREAM_REDIS_TIMEOUT_S is above MIDSTREAM_LEASE_MS: one lost reply may outlast a lease."
    if settings.overload_queue_s > settings.queue_timeout_s:
        yield "warning", "MIDSTREAM_OVERLOAD_QUEUE_S is above MIDSTREAM_QUEUE_TIMEOUT_S, so no start is refused for it."
    if settings.drain_s < 1:
        yield "warning", "MIDSTREAM_DRAIN_S is below 1: every restart of a worker interrupts what it runs."
    if len({each["lease_ms"] for each in processes}) > 1:
        yield "warning", "Processes have different values of MIDSTREAM_LEASE_MS."


def _bounds(readings: Readings) -> Rows:
    settings = readings.settings
    if settings.max_connections + FILES_APART > readings.open_files:
        yield (
            "fault",
            (
                f"MIDSTREAM_MAX_CONNECTIONS is {settings.max_connections}, and the process may open "
                f"{readings.open_files} files (ulimit -n)."
            ),
        )
    held = settings.window_bytes + settings.unsent_bytes + settings.max_bodies_bytes
    if readings.memory_bytes and held > readings.memory_bytes * MOST_OF_MEMORY:
        yield (
            "warning",
            (
                f"One broker may hold {held / 2**20:.0f} MiB in its window, for lagging clients and in bodies; the "
                f"machine has {readings.memory_bytes / 2**20:.0f} MiB."
            ),
        )
    if "*" in settings.allowed_origins:
        yield "warning", "MIDSTREAM_CORS_ORIGINS is `*`: pages of any site may use a key that they have."
    if not settings.is_open and settings.tenant_generations == 0:
        yield "warning", "MIDSTREAM_TENANT_GENERATIONS is 0: one tenant may take every worker."
    if settings.stream_entries == 0:
        yield "warning", "MIDSTREAM_STREAM_ENTRIES is 0: one stream may fill the server."


def _fast_path(readings: Readings) -> Rows:
    if readings.fast_path is not None:
        level: Level = "ok" if readings.settings.fast_path == "off" else "warning"
        yield level, f"Tails go the server's own way, which costs more: {readings.fast_path}."


def summary(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return how many findings there are of each level, and the worst one."""
    levels = [finding.level for finding in findings]
    worst = next((level for level in ("fault", "warning") if level in levels), "ok")
    return {"worst": worst, "faults": levels.count("fault"), "warnings": levels.count("warning")}
