"""When timers of one process fall due: together, so that a process at rest wakes once for all of them."""

import time


def until_turn_s(period_s: float) -> float:
    """Return the time until a multiple of the period by the monotonic clock: between half a period and one and a half.

    Half a period at least, because a timer may fire a little early, and would find the same multiple again.
    """
    left_s = period_s - time.monotonic() % period_s
    return left_s if left_s > period_s / 2 else left_s + period_s
