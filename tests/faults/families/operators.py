"""An operator's act on many streams, while a broker, the worker or Redis is killed: nothing is done twice."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

from httpx2 import HTTPError

from midstream.testing.provider.script import Script
from tests.faults import stage
from tests.faults.family import Family
from tests.faults.rig import Rig
from tests.faults.trial import CHAT, Trial

POINTS = tuple((victim, after_s) for after_s in (0.0, 0.02, 0.1) for victim in ("broker", "worker", "redis"))
"""What is killed, and how long after the order."""
VOLLEY = 20
ORDER_S = 20.0
AWAY_S = 0.2
ASK_AGAIN_S = 0.1


def draw(rng: random.Random, number: int) -> dict[str, Any]:
    """A stream that runs until the operator seals it."""
    script = Script(words=1_000, delay_ms=rng.uniform(20, 60))
    point = POINTS[number // VOLLEY % len(POINTS)]
    return {"model": CHAT, "policy": "interrupt", "script": script, "point": point, "allowed": ("interrupted",)}


async def run(rig: Rig, trials: Sequence[Trial]) -> None:
    """Seal all streams while something is killed, and then begin them again while the broker that is asked is."""
    await rig.worker()
    thread = f"volley-{rig.random.random()}"
    await stage.begin(rig, trials, thread=thread)
    await stage.until(rig, trials, lambda state: state.get("status") == "running", 5)
    victim, after_s = trials[0].case.point
    seals = {"act": "seal", "where": {"thread": thread, "status": ["queued", "running"]}, "reason": "a test"}
    await asyncio.gather(_order(rig, seals), _kill(rig, victim, after_s))
    await stage.settle(rig, trials)
    again = {"act": "requeue", "where": {"thread": thread, "outcome": "interrupted"}, "pay_again": True}
    await asyncio.gather(_order(rig, again, most=len(trials)), _kill(rig, "broker", after_s))
    streams = await _count(rig, {"thread": thread})
    if streams != 2 * len(trials):
        trials[0].breaks(f"a requeue of {len(trials)} streams, sent until it was answered, made {streams} of them")
    await _judge_audit(rig, trials, thread)
    await _order(rig, {"act": "cancel", "where": {"thread": thread, "status": ["queued", "running"]}})


async def _kill(rig: Rig, victim: str, after_s: float) -> None:
    """Kill something a moment after the order, and start it again."""
    await asyncio.sleep(after_s)
    match victim:
        case "broker":
            await rig.brokers[0].kill()
            await asyncio.sleep(AWAY_S)
            await rig.start_broker(0)
        case "worker":
            await (await rig.worker()).kill()
            await rig.worker()
        case _:
            await asyncio.to_thread(rig.server.kill)
            await asyncio.sleep(AWAY_S)
            await asyncio.to_thread(rig.server.start)
            await rig.load_scripts()


async def _order(rig: Rig, order: dict[str, Any], most: int | None = None) -> None:
    """Send an order again and again, as an operator does, until it is answered and nothing more fits it.

    What fits `most` streams is done once it was answered for so many.
    """
    async with asyncio.timeout(ORDER_S):
        while count := most or await _count(rig, order["where"]):
            answer = await _ask(rig, order | {"expect": count})
            if answer is not None and "done" in answer and answer["done"] + sum(answer["refused"].values()) >= count:
                return


async def _count(rig: Rig, where: dict[str, Any]) -> int:
    while (answer := await _ask(rig, {"act": "cancel", "where": where, "dry_run": True})) is None:
        pass
    count: int = answer["count"]
    return count


async def _ask(rig: Rig, order: dict[str, Any]) -> dict[str, Any] | None:
    """Return a broker's answer to an order; None: it gave none that counts, and a moment has passed."""
    try:
        answer = await rig.http.post(f"{rig.urls[0]}/v1/operate/acts", json=order)
    except (HTTPError, OSError):
        await asyncio.sleep(ASK_AGAIN_S)
        return None
    if answer.status_code in (200, 409):
        document: dict[str, Any] = answer.json()
        return document
    if answer.status_code != 503:
        raise RuntimeError(f"an order was answered by {answer.status_code}: {answer.text}")
    await asyncio.sleep(ASK_AGAIN_S)
    return None


async def _judge_audit(rig: Rig, trials: Sequence[Trial], thread: str) -> None:
    """The audit has a row for the beginning of each order, before the one with what it came to."""
    answer = await rig.http.get(f"{rig.urls[1]}/v1/operate/audit", params={"limit": 100})
    rows = [row for row in answer.json()["data"] if f"thread={thread}" in row.get("where", ())]
    for act in ("seal", "requeue"):
        results = [row["result"] for row in rows if row["act"] == act]
        begun, done = results.count("begun"), results.count("done")
        if not results or results[0] != "begun" or not 0 < done <= begun:
            trials[0].breaks(f"the audit of {act} says {results}")


FAMILIES = (Family("acts-on-many", 180, VOLLEY, draw, run),)
