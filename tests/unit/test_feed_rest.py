"""When a feed rests between two reads."""

import pytest

from midstream.log.feed_rest import CALM_AT_ONCE, CALM_PER_S, REST_S, FeedRest


def rests_s(interval_s: float, count: int, messages: int = 1) -> list[float]:
    """Return the rests after so many reads at this interval."""
    rest = FeedRest()
    return [rest.after(messages, 1.0 + number * interval_s) for number in range(count)]


def test_messages_are_read_as_they_come_while_they_are_few() -> None:
    """Read/Together: as many as a tenant's 20 generations append, and then at the most that is calm."""
    assert max(rests_s(1 / 100, 200)) <= 0
    assert max(rests_s(1 / CALM_PER_S, 200)) <= 0


def test_few_messages_that_come_at_once_keep_nobody_waiting() -> None:
    rest = FeedRest()
    moments_s = [second + number / 10_000 for second in (1.0, 1.1, 1.2) for number in range(CALM_AT_ONCE)]
    assert max(rest.after(1, moment_s) for moment_s in moments_s) <= 0


def test_a_feed_rests_while_many_messages_come_and_no_longer() -> None:
    """Read/Together."""
    rest, interval_s = FeedRest(), 1 / (2 * CALM_PER_S)
    rests = [rest.after(1, 1.0 + number * interval_s) for number in range(50)]
    assert rests[-1] == pytest.approx(REST_S - interval_s)
    end_s = 1.0 + 49 * interval_s
    assert rest.after(1, end_s + 2 * CALM_AT_ONCE / CALM_PER_S) <= 0
    assert rest.after(1, end_s + 2 * CALM_AT_ONCE / CALM_PER_S + 0.001) <= 0


def test_a_crowd_that_is_read_at_once_makes_the_next_read_wait() -> None:
    assert rests_s(0.001, 2, messages=1_000)[1] > 0
