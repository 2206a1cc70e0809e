"""A process is killed or frozen around a step that moves money in a till outside. Step/Once, Step/Unknown."""

import asyncio
import itertools
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from midstream.access.ids import OPEN_SECRET, derived_id
from midstream.log.entries import Entry
from midstream.service.taken_up import taken_up_id
from midstream.testing.provider.script import Script
from tests.faults import stage, stepping, till
from tests.faults.families.worker_killed import kill
from tests.faults.family import Family
from tests.faults.members import Member
from tests.faults.proxy import Action, Command, runs
from tests.faults.rig import Rig
from tests.faults.trial import Trial
from tests.servers import free_port

WORDS = 8
VOLLEY = 12
REACHED_S = 8.0
FOREVER_S = 60.0
A_MOMENT_S = 0.5
AFTER_S = 1.0
PAID = re.compile(r"^paid (\S+) (\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Moment:
    """Where a process is stopped.

    Attributes:
        hold: Where the program or the till holds a stream, in their own words.
        word: What an append holds that the proxy stops instead; the other streams of the volley are held with it.
        action: Whether it stops the append, or the answer to it.
        is_unknown: Whether nobody can know after this whether the step was done.
    """

    name: str
    hold: str = ""
    word: bytes = b""
    action: Action = "hold"
    is_unknown: bool = False


MOMENTS = (
    Moment("in the call, after it is paid", "after", is_unknown=True),
    Moment("before the step", "begin"),
    Moment("before the intent is on the log", word=b'"begun"'),
    Moment("after the intent, before the program is told", word=b'"begun"', action="hold_reply", is_unknown=True),
    Moment("in the call, before the till is asked", "called", is_unknown=True),
    Moment("in the call, before it is paid", "before", is_unknown=True),
    Moment("after the call, before its result is known", "returned", is_unknown=True),
    Moment("before the result is on the log", word=b'"done"', is_unknown=True),
    Moment("after the result, before the program is told", word=b'"done"', action="hold_reply"),
    Moment("after the result", "logged"),
    Moment("after the step, in later words", "later"),
)
FROZEN = tuple(moment for moment in MOMENTS if moment.hold in ("begin", "called", "returned"))
COMBINATIONS = tuple(itertools.product(("ask", "fail", "retry"), ("continue", "restart")))
ENDS = {"ask": "interrupted", "fail": "failed", "retry": "completed"}


def _truth(moment: Moment, unknown: str) -> set[str]:
    if moment.word:  # of the others of the volley, some have not begun the step, and some are in it
        return {ENDS[unknown], "completed"}
    return {ENDS[unknown] if moment.is_unknown else "completed"}


def _drawn(moments: Sequence[Moment], number: int) -> dict[str, Any]:
    """Go through all moments, a volley at each; in a volley through all policies, and answers to an unknown step."""
    moment = moments[number // VOLLEY % len(moments)]
    unknown, policy = COMBINATIONS[number % len(COMBINATIONS)]
    point, allowed = (moment, unknown), _truth(moment, unknown)
    script = Script(words=WORDS, delay_ms=15)
    return {"model": "app/till", "policy": policy, "script": script, "point": point, "allowed": allowed}


def draw_killed(_: random.Random, number: int) -> dict[str, Any]:
    """Kill a worker."""
    return _drawn(MOMENTS, number)


def draw_frozen(_: random.Random, number: int) -> dict[str, Any]:
    """Freeze a worker until another one has taken its streams."""
    return _drawn(FROZEN, number)


def draw_produced(_: random.Random, number: int) -> dict[str, Any]:
    """Kill a producer, whose first stream ends as interrupted."""
    return _drawn(MOMENTS, number) | {"model": "external/producer", "policy": "auto", "allowed": {"interrupted"}}


async def _open_till(rig: Rig) -> tuple[Member, int]:
    outside, port = await rig.member("till"), free_port()
    await outside.start(till.OPEN, "till", str(port))
    return outside, port


def _params(trial: Trial, port: int, hold_s: float) -> dict[str, Any]:
    (moment, unknown), script = trial.case.point, trial.case.script
    fields = {"till": port, "order": trial.case.tag, "unknown": unknown, "words": script.words}
    return fields | {"delay_ms": script.delay_ms, "hold": moment.hold, "hold_s": hold_s}


def _appends(stream_id: str, word: bytes) -> Callable[[Command], bool]:
    is_append = runs("append", stream_id)
    return lambda command: is_append(command) and any(word in each for each in command[3:])


def _watch(victim: Member, outside: Member, trials: Sequence[Trial]) -> Callable[[], Any]:
    """Return what waits until the streams are at their moment; to be called before they begin."""
    moment, _ = trials[0].case.point
    if moment.word:
        matches = [_appends(trial.stream_id, moment.word) for trial in trials]
        rule = victim.proxy.rule(lambda command: any(each(command) for each in matches), moment.action, once=False)
        return rule.reached.wait

    async def all_held() -> None:
        while any(f"holding {trial.case.tag}\n" not in victim.log() + outside.log() for trial in trials):
            await asyncio.sleep(stage.POLL_S)

    return all_held


async def _start(rig: Rig, trials: Sequence[Trial], port: int, hold_s: float) -> None:
    await asyncio.gather(*(stage.post(rig, trial, params=_params(trial, port, hold_s)) for trial in trials))
    for trial in trials:
        stage.read(rig, trial)


async def run_killed(rig: Rig, trials: Sequence[Trial]) -> None:
    """Kill the worker of all streams at their moment, and let another one take them."""
    outside, port = await _open_till(rig)
    victim, heir = await rig.worker(), await rig.standby()
    for trial in trials:
        trial.stream_id = derived_id(OPEN_SECRET, "key", "default", trial.case.tag)
    at_moment = _watch(victim, outside, trials)
    await _start(rig, trials, port, FOREVER_S)
    async with asyncio.timeout(REACHED_S):
        await at_moment()
    await kill(rig, trials, victim, heir)
    await stage.settle(rig, trials)
    await _close(outside, trials)


async def run_frozen(rig: Rig, trials: Sequence[Trial]) -> None:
    """Freeze the worker in the step until another one has decided, and wake it: it must not do the step then."""
    outside, port = await _open_till(rig)
    victim, heir = await rig.worker(), await rig.standby()
    at_moment = _watch(victim, outside, trials)
    await _start(rig, trials, port, A_MOMENT_S)
    async with asyncio.timeout(REACHED_S):
        await at_moment()
    victim.freeze()
    heir.thaw()
    rig.succeed(heir)
    await stage.settle(rig, trials)
    victim.thaw()
    await asyncio.sleep(A_MOMENT_S + AFTER_S)
    for trial in trials:
        if await stage.entries(rig.redis, trial.name) != trial.entries:
            trial.breaks("I6 fenced: the log has changed after its end")
    await victim.kill()
    await _close(outside, trials)


async def run_produced(rig: Rig, trials: Sequence[Trial]) -> None:
    """Kill the producer of all streams at their moment, and let another one take the same keys up."""
    outside, port = await _open_till(rig)
    victim, heir = await rig.member("producer"), await rig.member("heir")
    for trial in trials:
        trial.stream_id = derived_id(OPEN_SECRET, "key", "default", trial.case.tag)
    at_moment = _watch(victim, outside, trials)
    orders = [_params(trial, port, FOREVER_S) for trial in trials]
    await victim.start(stepping.BEGUN, "stepping", stepping.plan(orders))
    await stage.until(rig, trials, lambda state: bool(state.get("status")), REACHED_S)
    for trial in trials:
        stage.read(rig, trial)
    async with asyncio.timeout(REACHED_S):
        await at_moment()
    died_ms = stage.now_ms()
    await victim.kill()
    for trial in trials:
        trial.died_ms = died_ms
    await heir.start(stepping.BEGUN, "stepping", stepping.plan([order | {"hold": ""} for order in orders]))
    await stage.settle(rig, trials)
    seconds = [Trial(replace(trial.case, policy="auto")) for trial in trials]
    for trial, second in zip(trials, seconds, strict=True):
        second.stream_id = taken_up_id(OPEN_SECRET, "default", trial.case.tag, 2)
    await stage.until(rig, seconds, lambda state: state.get("status") == "ended", REACHED_S)
    await stage.settle(rig, seconds)
    await heir.kill()
    await _close(outside, trials, seconds)


async def _close(outside: Member, trials: Sequence[Trial], lasts: Sequence[Trial] | None = None) -> None:
    """Compare the till's books with the logs of the streams that came last, and enter them as paid calls."""
    books: dict[str, list[int]] = {}
    for order, receipt in PAID.findall(outside.log()):
        books.setdefault(order, []).append(int(receipt))
    await outside.kill()
    for trial, last in zip(trials, lasts or trials, strict=True):
        paid = books.get(trial.case.tag, [])
        for sentence in _problems(trial, last, paid):
            trial.breaks(sentence)
        trial.calls = [
            {"number": receipt, "at_ms": 0, "api": "till", "connection": "", "steps_sent": 1} for receipt in paid
        ]
        if lasts is not None and len(paid) > 1:
            trial.calls = trial.calls[:1]  # the second stream's; how many there may be was judged


def _problems(trial: Trial, last: Trial, paid: Sequence[int]) -> list[str]:
    (moment, unknown), entries = trial.case.point, last.entries
    problems = []
    if len(paid) > (2 if unknown == "retry" else 1):
        problems.append(f"Step/Once: the till has paid {len(paid)} times under `{unknown}`")
    if last is not trial and last.outcome not in _truth(moment, unknown):
        problems.append(f"Step/Unknown: the key's second stream ended {last.outcome!r}: {last.state}")
    steps = [
        entry.data for entry in ((*trial.entries, *entries) if last is not trial else entries) if entry.type == "step"
    ]
    states = [step["state"] for step in steps]
    if "done" in states and "begun" in states[states.index("done") :]:
        problems.append(f"Step/Once: it was begun again after its result was logged: {states}")
    results = [step["result"] for step in steps if step["state"] == "done"]
    receipts = [e.data["number"] for e in entries if e.type == "data" and e.data.get("kind") == "receipt"]
    if any(receipt != results[0] for receipt in receipts) or any(result not in paid for result in results):
        problems.append(f"Step/Once: logged {results}, given {receipts}, paid {list(paid)}")
    if last.outcome == "completed" and (not receipts or _text(entries) != trial.case.script.text()):
        problems.append(f"Step/Replay: completed with {_text(entries)!r} and the receipts {receipts}")
    return problems


def _text(entries: Sequence[Entry]) -> str:
    resets = [at for at, entry in enumerate(entries) if entry.type == "reset"]
    return "".join(entry.text for entry in entries[resets[-1] if resets else 0 :])


FAMILIES = (
    Family("worker-killed-in-money-step", 11 * VOLLEY, VOLLEY, draw_killed, run_killed),
    Family("worker-frozen-in-money-step", 3 * VOLLEY, VOLLEY, draw_frozen, run_frozen),
    Family("producer-killed-in-money-step", 11 * VOLLEY, VOLLEY, draw_produced, run_produced),
)
