"""PROTOCOL: Recovery/Verdict as a table: what becomes of a stream that has not ended."""

from dataclasses import replace

import pytest

from midstream.lifecycle.verdict import LetStart, Requeue, Seal, Verdict, Wait, judge, look_again_ms
from midstream.log.state import State
from midstream.settings import Settings

NOW_MS = 1_000_000
SETTINGS = Settings(queue_timeout_s=120, max_attempts=3, lease_ms=10_000, requeue_ms=5_000)
LOST = State(status="running", epoch=1, policy="reattach", lease_until_ms=NOW_MS - 1)
QUEUED = State(status="queued", queued_ms=NOW_MS)

TABLE: dict[str, tuple[State, Verdict | str]] = {
    "queued: its slip is written again": (QUEUED, Requeue()),
    "queued until just before the limit": (replace(QUEUED, queued_ms=NOW_MS - 119_999), Requeue()),
    "queued too long": (replace(QUEUED, queued_ms=NOW_MS - 120_000), "failed queue_timeout"),
    "queued again, too long, counted from when": (
        replace(QUEUED, epoch=1, intent=1, created_ms=1, queued_ms=NOW_MS - 1),
        Requeue(),
    ),
    "it waits in its thread": (replace(QUEUED, waits="queue", queued_ms=NOW_MS - 120_000), LetStart()),
    "it waits in its thread for too long": (
        replace(QUEUED, waits="cancel", queued_ms=NOW_MS - round(SETTINGS.longest_life_s * 1000)),
        "failed queue_timeout",
    ),
    "its lease holds": (replace(LOST, lease_until_ms=NOW_MS + 500), Wait(501)),
    "its lease ends now": (replace(LOST, lease_until_ms=NOW_MS), Requeue()),
    "its lease holds, and a cancel was asked for": (replace(LOST, lease_until_ms=NOW_MS + 5, cancel_ms=1), Wait(6)),
    "lost, and a cancel was asked for": (replace(LOST, cancel_ms=1), "cancelled"),
    "lost with an intent, and a cancel was asked for": (replace(LOST, cancel_ms=1, intent=1), "cancelled"),
    "lost for the last time, and a cancel was asked for": (replace(LOST, cancel_ms=1, epoch=3), "cancelled"),
    **{
        f"lost without an intent, policy {policy}": (replace(LOST, policy=policy), Requeue())
        for policy in ("interrupt", "reattach", "continue", "restart")
    },
    "lost with an intent, policy interrupt": (replace(LOST, intent=1, policy="interrupt"), "interrupted worker_lost"),
    "lost with an intent, policy interrupt, upstream known": (
        replace(LOST, intent=1, policy="interrupt", upstream_id="resp_1"),
        "interrupted worker_lost",
    ),
    "lost with an intent, policy reattach, no upstream": (replace(LOST, intent=1), "interrupted worker_lost"),
    "lost with an intent, policy reattach, upstream known": (replace(LOST, intent=1, upstream_id="resp_1"), Requeue()),
    "lost with an intent, policy continue": (replace(LOST, intent=1, policy="continue"), Requeue()),
    "lost with an intent, policy restart": (replace(LOST, intent=1, policy="restart"), Requeue()),
    "the intent of an earlier epoch counts": (replace(LOST, epoch=2, intent=1), "interrupted worker_lost"),
    "one attempt is left": (replace(LOST, epoch=2, intent=1, policy="restart"), Requeue()),
    "no attempt is left, whatever the policy": (
        replace(LOST, epoch=3, intent=1, policy="restart"),
        "interrupted attempts_exhausted",
    ),
    "external: its producer claims it now": (replace(QUEUED, policy="external", queued_ms=NOW_MS - 9_999), Wait(1)),
    "external: never claimed": (
        replace(QUEUED, policy="external", queued_ms=NOW_MS - 10_000),
        "interrupted producer_lost",
    ),
    "external: its lease holds": (replace(LOST, policy="external", lease_until_ms=NOW_MS + 500), Wait(501)),
    "external: lost": (replace(LOST, policy="external"), "interrupted producer_lost"),
    "external: lost, and a cancel was asked for": (replace(LOST, policy="external", cancel_ms=1), "cancelled"),
    "no attempt is left, even if none ever called": (replace(LOST, epoch=3), "interrupted attempts_exhausted"),
}


@pytest.mark.parametrize(("state", "expected"), TABLE.values(), ids=TABLE)
def test_verdict(state: State, expected: Verdict | str) -> None:
    verdict = judge(state, NOW_MS, SETTINGS)
    if isinstance(verdict, Seal):
        assert f"{verdict.outcome} {verdict.code}".rstrip() == expected
        assert bool(verdict.message) == bool(verdict.code)
    else:
        assert verdict == expected


@pytest.mark.parametrize(("requeue_ms", "lease_ms", "expected"), [(5_000, 1_000, 1_000), (500, 10_000, 500)])
def test_a_queued_stream_is_looked_at_again_within_a_lease(requeue_ms: int, lease_ms: int, expected: int) -> None:
    assert look_again_ms(Settings(requeue_ms=requeue_ms, lease_ms=lease_ms)) == expected
