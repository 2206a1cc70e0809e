"""Limits/Pace: how many messages of a socket are read, and how often their reader waits."""

import pytest

from midstream.http.socket.ws_socket import EARLY_S, Pace

PER_S = 200
ROUND_TRIP_S = 0.001


def test_the_messages_of_one_second_may_come_at_once() -> None:
    pace = Pace(PER_S)
    waits = [pace.wait_s(now_s=100.0) for _ in range(PER_S + 2)]
    assert not any(waits[: PER_S - 1])
    assert waits[-1] > EARLY_S


@pytest.mark.parametrize("per_s", [1, 20, PER_S])
def test_a_client_that_says_too_much_is_held_to_its_pace_by_few_waits(per_s: int) -> None:
    pace, now_s, read, waits = Pace(per_s), 100.0, 0, 0
    while now_s < 110:
        wait_s = pace.wait_s(now_s)
        waits += wait_s > 0
        now_s += wait_s + ROUND_TRIP_S
        read += 1
    assert 10 * per_s - 1 <= read <= 11 * per_s + 1
    assert waits <= 10 / EARLY_S


def test_no_pace_is_no_wait() -> None:
    pace = Pace(0)
    assert not any(pace.wait_s(now_s=100.0) for _ in range(10_000))
