"""`midstream capacity`: its figures are those of docs/benchmarks.md, and docs/capacity.md shows what it prints."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from midstream.cli import capacity
from midstream.cli.capacity import Load, brokers_for, redis_for, simulated, token_us, workers_for
from midstream.cli.main import main

ROOT = Path(__file__).parents[2]
BENCHMARKS = (ROOT / "docs/benchmarks.md").read_text()
PAGE = (ROOT / "docs/capacity.md").read_text()
SNIPPETS = re.findall(r"```\n\$ midstream (capacity .*)\n((?:.+\n)+?)```", PAGE)


def measured(name: str, row: str) -> float:
    """Return midstream's own figure in a row of a benchmark's table."""
    table = BENCHMARKS.partition(f"(`{name}`)\n")[2].partition("\n\n**")[0]
    titles = [cell.strip() for cell in table.splitlines()[1].split("|")]
    (line,) = (line for line in table.splitlines() if line.startswith(f"| {row} |"))
    return float([cell.strip() for cell in line.split("|")][titles.index("midstream")].replace(",", ""))


def test_the_figures_are_those_that_were_measured() -> None:
    front = {name: measured(name, "of which front, CPU s") for name in ("fanout", "many", "light")}
    redis = {name: measured(name, "of which Redis, CPU s") for name in ("many", "light")}
    intake = (front["many"] - front["fanout"]) / (1 / 5 - 1 / 1_000)  # 5 tails of a stream, and 1,000
    assert pytest.approx(intake, rel=0.01) == capacity.INTAKE_US
    assert pytest.approx(front["fanout"] - intake / 1_000, rel=0.01) == capacity.DELIVERY_US
    light = 4_000 * front["light"] / 1e6  # cores for 4,000 deliveries of 800 entries a second
    assert pytest.approx(light - (800 * intake + 4_000 * capacity.DELIVERY_US) / 1e6, abs=0.01) == capacity.BASE_CORES
    few, many = 4_000 * redis["light"], 50_000 * redis["many"]
    slope = (many - few) / (10_000 - 800)
    assert pytest.approx(slope, rel=0.01) == capacity.REDIS_ENTRY_US
    assert pytest.approx((few - 800 * slope) / 1e6, rel=0.01) == capacity.REDIS_BASE_CORES
    assert measured("idle", "memory, KiB a tail") == capacity.IDLE_TAIL_KIB
    assert measured("idle", "front CPU for 10,000 tails, %") / 1e6 == pytest.approx(capacity.IDLE_TAIL_CORES)
    assert measured("storm", "front CPU, ms a client") == capacity.RETURN_MS
    assert measured("memory", "a token an entry: bytes a token") == capacity.STORED_BYTES
    assert token_us(200) == pytest.approx(measured("tokens", "at 30 tokens/s each: CPU, µs a token"), abs=1)
    limits = (ROOT / "docs/limits.md").read_text()
    assert f"{token_us(50):.0f} µs a token with 50" in limits
    assert f"{token_us(200):.0f} µs of CPU time a token" in limits


def test_more_users_need_more_and_nobody_is_over_its_share() -> None:
    loads = [Load(users) for users in (1, 1_000, 10_000, 100_000)]
    for need in (brokers_for, workers_for, redis_for):
        counts = [need(load).count for load in loads]
        assert counts == sorted(counts)
        assert counts[-1] > counts[0]
    for load in loads:
        assert brokers_for(load).busy_cores <= capacity.BROKER_SHARE
        assert workers_for(load).busy_cores <= capacity.WORKER_SHARE
    assert workers_for(Load(10_000, tokens_per_s=1)).first.startswith("its limit")
    assert brokers_for(Load(1_000_000, active=0)).first.startswith("tails")


def test_too_few_brokers_are_seen_to_be_late() -> None:
    load = Load(10_000)
    enough, too_few = (simulated(load, brokers, over_s=1) for brokers in (6, 3))
    assert enough.latest_ms == 0
    assert too_few.busiest_after > 1
    assert too_few.latest_ms > 1_000
    crowd = simulated(Load(40_000, active=0), 2, over_s=1)
    assert 1_000 < crowd.latest_ms < 20_000 * capacity.RETURN_MS  # 20,000 clients that come back to one at once


@pytest.mark.parametrize(("command", "printed"), SNIPPETS)
def test_the_page_shows_what_is_printed(command: str, printed: str) -> None:
    done = CliRunner().invoke(main, shlex.split(command), env={"COLUMNS": "200"})
    assert (done.exit_code, done.output) == (0, printed)


def test_the_page_shows_a_million_tails() -> None:
    assert any("--users 1000000" in command and "--simulate" in command for command, _ in SNIPPETS)
