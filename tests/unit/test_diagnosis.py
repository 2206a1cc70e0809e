"""What is wrong or unsafe in an installation, as a table (PROTOCOL: Operate/Doctor)."""

from copy import deepcopy
from typing import Any

import pytest
from pydantic import SecretStr

from midstream.operate.diagnosis import GOOD, Readings, diagnose, summary
from midstream.operate.redis_report import forecast
from midstream.settings import Settings

GIB = 2**30
WORKER = {
    "name": "w:1:a",
    "alive": True,
    "draining": False,
    "slots": 4,
    "free": 2,
    "clock_skew_ms": 3,
    "silent_ms": 0,
    "renewal_age_ms": 900,
    "lease_ms": 10_000,
    "version": "1",
    "loop_lag_ms": 2,
}
BROKER = {
    "name": "b:2:b",
    "alive": True,
    "clock_skew_ms": -3,
    "silent_ms": 0,
    "lease_ms": 10_000,
    "version": "1",
    "loop_lag_ms": 2,
}
REDIS = {
    "server": "valkey",
    "version": "9.1.0",
    "role": "master",
    "memory": {"max_bytes": 4 * GIB, "left_bytes": 3 * GIB, "forecast": None},
    "persistence": {"appendonly": True, "appendfsync": "always", "last_write": "ok", "last_snapshot": "ok"},
    "eviction": {"policy": "noeviction", "evicted_keys": 0},
    "slow_log": {"length": 0, "worst": None},
}
QUEUE = {
    "depth": 0,
    "oldest_age_s": 0.0,
    "slips_without_stream": {"number": 0},
    "streams_without_slip": {"number": 0},
}
OUTLETS = {
    "data": [{"name": "hook", "waiting": 1, "oldest_ms": 900_000, "abandoned": 0, "lost": 0}],
    "now_ms": 1_000_000,
}
SOUND: dict[str, Any] = {
    "redis": REDIS,
    "workers": [WORKER],
    "brokers": [BROKER],
    "queue": QUEUE,
    "outlets": OUTLETS,
    "fast_path": None,
}


def findings(changes: dict[str, Any], **settings: Any) -> list[tuple[str, str]]:
    """Return check and level of all that is not as it should be, after changes at paths such as `redis.version`."""
    readings = deepcopy(SOUND)
    for path, value in changes.items():
        at: Any = readings
        *parents, last = path.split(".")
        for name in parents:
            at = at[int(name) if name.isdigit() else name]
        at[last] = value
    made = diagnose(Readings(settings=Settings(**settings), open_files=65_536, memory_bytes=8 * GIB, **readings))
    assert {each.check for each in made} == {*GOOD}, "every check says something"
    return [(each.check, each.level) for each in made if each.level != "ok"]


def test_nothing_is_wrong_with_a_sound_installation() -> None:
    assert findings({}) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"redis.version": "6.2.1"}, ("redis version", "fault")),
        ({"redis.role": "slave"}, ("redis version", "fault")),
        ({"redis.persistence.appendonly": False}, ("persistence", "fault")),
        ({"redis.persistence.appendfsync": "no"}, ("persistence", "warning")),
        ({"redis.persistence.last_write": "err"}, ("persistence", "fault")),
        ({"redis.eviction.policy": "allkeys-lru"}, ("eviction", "fault")),
        ({"redis.eviction.evicted_keys": 3}, ("eviction", "fault")),
        ({"redis.memory.max_bytes": None, "redis.memory.left_bytes": None}, ("memory", "warning")),
        ({"redis.memory.left_bytes": GIB // 2}, ("memory", "warning")),
        ({"redis.memory.left_bytes": GIB // 10}, ("memory", "fault")),
        ({"redis.memory.forecast": {"hours_left": 5.0}}, ("memory", "warning")),
        ({"redis.slow_log.worst": {"command": "EVALSHA", "took_ms": 900.0}}, ("slow log", "warning")),
        ({"workers.0.clock_skew_ms": -5_000}, ("clocks", "warning")),
        ({"brokers.0.clock_skew_ms": 90_000}, ("clocks", "fault")),
        ({"workers": []}, ("workers", "fault")),
        ({"workers.0.draining": True}, ("workers", "fault")),
        ({"workers.0.free": 0}, ("workers", "warning")),
        ({"workers.0.renewal_age_ms": 8_000}, ("workers", "warning")),
        ({"brokers.0.version": "2"}, ("brokers", "warning")),
        ({"brokers.0.alive": False}, ("brokers", "warning")),
        ({"workers.0.loop_lag_ms": 800}, ("brokers", "warning")),
        ({"queue.oldest_age_s": 40.0}, ("queue", "warning")),
        ({"queue.streams_without_slip.number": 2}, ("queue", "warning")),
        ({"outlets.data.0.abandoned": 2}, ("outlets", "warning")),
        ({"outlets.data.0.lost": 2}, ("outlets", "warning")),
        ({"outlets.data.0.oldest_ms": 600_000}, ("outlets", "warning")),
        ({"brokers.0.lease_ms": 5_000}, ("settings", "warning")),
        ({"fast_path": "uvicorn 9 is installed"}, ("fast path", "warning")),
    ],
)
def test_what_is_wrong_is_found(changes: dict[str, Any], expected: tuple[str, str]) -> None:
    """Operate/Doctor."""
    assert findings(changes) == [expected]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"queue_timeout_s": 4, "overload_queue_s": 0}, ("settings", "fault")),
        ({"outdated_after_s": 15}, ("settings", "fault")),
        ({"idle_timeout_s": 1_000}, ("settings", "warning")),
        ({"redis_timeout_s": 20}, ("settings", "warning")),
        ({"overload_queue_s": 500}, ("settings", "warning")),
        ({"drain_s": 0}, ("settings", "warning")),
        ({"max_connections": 100_000}, ("bounds", "fault")),
        ({"window_bytes": 5 * GIB}, ("bounds", "warning")),
        ({"cors_origins": "*"}, ("bounds", "warning")),
        ({"tenant_generations": 0, "api_keys": SecretStr("k:acme")}, ("bounds", "warning")),
        ({"stream_entries": 0}, ("bounds", "warning")),
    ],
)
def test_settings_that_contradict_each_other_or_the_machine_are_found(
    settings: dict[str, Any], expected: tuple[str, str]
) -> None:
    """Operate/Doctor."""
    assert findings({}, **settings) == [expected]


def test_a_fast_path_that_is_switched_off_is_no_warning() -> None:
    assert findings({"fast_path": "it is switched off"}, fast_path="off") == []


def test_the_summary_names_the_worst_level() -> None:
    readings = Readings(settings=Settings(drain_s=0), open_files=65_536, memory_bytes=0, **SOUND)
    assert summary(diagnose(readings)) == {"worst": "warning", "faults": 0, "warnings": 1}


HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        ([], None),
        ([(0, 100), (600_000, 200)], None),
        ([(0, 100), (HOUR_MS, 200), (2 * HOUR_MS, 300)], (100, 7.0)),
        ([(0, 300), (HOUR_MS, 200), (2 * HOUR_MS, 100)], (-100, None)),
    ],
)
def test_the_forecast_is_a_line_through_the_readings(
    readings: list[tuple[int, int]], expected: tuple[int, float | None] | None
) -> None:
    """Operate/Redis."""
    made = forecast(readings, used_bytes=300, max_bytes=1_000)
    assert (made and (made["bytes_per_hour"], made["hours_left"])) == expected
