"""Side effects that are done once, whatever becomes of the worker (PROTOCOL: Steps)."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from midstream.attempts.app_context import AppContext, BlockingAppContext
from midstream.attempts.attempt import Attempt
from midstream.attempts.attempt_parts import AttemptParts
from midstream.attempts.delta import SourceError
from midstream.attempts.steps import key_of
from midstream.attempts.write_delays import WriteDelays
from midstream.log.entries import Entry, Json, decode, encode, text
from midstream.log.errors import LogUnavailable
from midstream.log.keys import Keys, new_id
from midstream.log.log import Log
from midstream.log.values import Notes
from midstream.settings import Settings
from tests import inside
from tests.contract.lost_workers import LOST_LEASE_MS
from tests.contract.new_streams import create
from tests.contract.worker_runs import Answer, client_alone, client_of, read

APPS = ("refund", "swallows", "blocking", "twice", "slow", "refused")
ARGUMENTS = {"order": 77}
FIELDS = {"name": "refund", "key": key_of("refund", ARGUMENTS)}
BEGUN = Entry("step", FIELDS | {"state": "begun", "arguments": ARGUMENTS})
DONE = Entry("step", FIELDS | {"state": "done", "result": 9})
UNFIT = Entry("step", FIELDS | {"state": "done", "unfit": "It is too large."})

till: list[Any] = []
"""What the steps have done outside."""
gates: dict[str, asyncio.Event] = {}
tries: list[int] = []
"""The attempts of each time that an app was run."""


@pytest.fixture(autouse=True)
async def _empty_till() -> None:
    till.clear()
    tries.clear()
    gates.update(there=asyncio.Event(), go_on=asyncio.Event())


async def refund(_: list[Json], params: Json, context: AppContext) -> AsyncIterator[str]:
    """Pays, and says what it was given for that."""

    async def pay() -> Any:
        till.append(context.attempt)
        return {"object": object(), "huge": "x" * 100_000, "nested": (1, 2)}.get(params.get("returns", ""), 9)

    yield "I look. "
    receipt = await context.once("refund", ARGUMENTS, pay, unknown=params.get("unknown", "ask"))
    yield f"Refunded: {receipt}. "
    yield params["then"] if context.attempt > 1 and "then" in params else "Bye."


async def swallows(_: list[Json], params: Json, context: AppContext) -> AsyncIterator[str]:
    """Goes on whatever happens."""
    try:
        await context.once("refund", ARGUMENTS, lambda: till.append(1), unknown=params["unknown"])
    except Exception:  # noqa: BLE001 - as an app may
        yield "I look at the till myself."


def _pay_at_once() -> int:
    till.append(1)
    return len(till)


def blocking(_: list[Json], _params: Json, context: BlockingAppContext) -> Iterator[str]:
    """A plain generator, whose steps block."""
    for _number in range(2):
        yield f"{context.once('refund', ARGUMENTS, _pay_at_once)} {context.attempt} "


async def twice(_: list[Json], _params: Json, context: AppContext) -> AsyncIterator[str]:
    """Wants the same step three times, twice of them at once."""

    async def pay() -> int:
        till.append(1)
        number = len(till)
        await asyncio.sleep(0)
        return number

    at_once = (context.once("refund", arguments, pay) for arguments in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 2}))
    yield f"{await asyncio.gather(*at_once)} "
    yield str(await context.once("refund", {"a": 1, "b": 2}, pay))


async def slow(_: list[Json], params: Json, context: AppContext) -> AsyncIterator[str]:
    """Waits before its step, or in it."""

    async def pay() -> None:
        till.append(1)
        gates["there"].set()
        await gates["go_on"].wait()

    yield "I look. "
    if params["wait"] == "before":
        gates["there"].set()
        await gates["go_on"].wait()
    await context.once("refund", ARGUMENTS, pay)


async def refused(_: list[Json], params: Json, context: AppContext) -> AsyncIterator[str]:
    """Pays, and then asks a model that refuses it for as long as the request says."""
    receipt = await context.once("refund", ARGUMENTS, _pay_at_once)
    tries.append(context.attempt)
    if len(tries) <= params["refusals"]:
        raise SourceError("provider_overloaded", "Later.", "safe", 0, is_refusal=True)
    yield f"Refunded: {receipt}."


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"apps": {name: f"{__name__}:{name}" for name in APPS}})


async def after(settings: Settings, redis: Redis, *entries: Entry, app: str = "refund", **fields: Any) -> Answer:
    """Return what a second worker makes of a stream whose first one has appended these entries, and was lost."""
    log = Log(redis, "ms")
    async with client_alone(settings) as client:
        stream_id = (await client.start("x", model=f"app/{app}", **fields))["id"]
        claim = await log.claim(stream_id, "lost", LOST_LEASE_MS)
        await log.renew(stream_id, claim.fence, LOST_LEASE_MS, Notes(intent=1, paid=1))
        await log.append(stream_id, claim.fence, claim.state.tail, [encode(entry) for entry in entries])
        async with inside.worker(settings):
            return await read(client, stream_id)


def answer_of(got: Answer) -> str:
    """Return the text after the last reset."""
    pieces: list[str] = []
    for entry in got.entries:
        if entry.type == "reset":
            pieces.clear()
        elif entry.type == "text":
            pieces.append(entry.data["text"])
    return "".join(pieces)


async def test_a_step_is_private_and_on_the_log_around_its_call(settings: Settings, redis: Redis) -> None:
    """Step/Once, Step/Private."""
    async with client_of(settings) as client:
        stream_id = (await client.start("x", model="app/refund"))["id"]
        got = await read(client, stream_id)
        _, rows = await Log(redis, "ms").read(stream_id, 0, 100)
        async with inside.broker(settings) as http:
            whole = await http.get(f"/v1/streams/{stream_id}/entries?steps=true")
            page = await http.get(f"/v1/streams/{stream_id}/entries")
            events = await http.get(f"/v1/streams/{stream_id}/events?steps=true")
            operators = await http.get(f"/v1/operate/streams/default/{stream_id}/entries?content=true")
            others = [
                (await http.get(f"/v1/operate/streams/default/{stream_id}/frames?dialect={dialect}")).json()["frames"]
                for dialect in ("native", "responses", "chat", "messages", "ui")
            ]
    assert (got.end, got.joined("text"), till) == (("completed", None), "I look. Refunded: 9. Bye.", [1])
    assert [entry.type for entry in got.entries] == ["start", "text", "step", "step", "text", "end"]
    assert got.of("step") == [{}, {}]
    assert [decode(row.content, 0, 0).data for row in rows[2:4]] == [BEGUN.data, DONE.data]
    for view in (whole.json()["data"], operators.json()["data"]):
        assert [row["data"]["state"] for row in view if row["type"] == "step"] == ["begun", "done"]
    assert '"result":9' in events.text
    assert [row["data"] for row in page.json()["data"] if row["type"] == "step"] == [{"type": "step"}] * 2
    assert not [frames for frames in others if FIELDS["key"] in frames]
    assert "step" not in "".join(others[1:4])
    assert "data-step" not in others[4]


@pytest.mark.parametrize(("policy", "resets"), [("continue", []), ("restart", ["restarting"])])
async def test_a_later_attempt_is_given_the_result(
    settings: Settings, redis: Redis, policy: str, resets: list[str]
) -> None:
    """Step/Once, Step/Replay, Recovery/Begin."""
    cut_elsewhere = (text("I lo"), text("ok. "), BEGUN, DONE, text("Refu"))
    got = await after(settings, redis, *cut_elsewhere, on_worker_loss=policy)
    assert (got.end, answer_of(got), till) == (("completed", None), "I look. Refunded: 9. Bye.", [])
    assert [reset["reason"] for reset in got.of("reset")] == resets
    assert [status["state"] for status in got.of("status")] == ["restarting" if resets else "replaying"]
    assert len(got.joined("text")) == len(answer_of(got)) + (len("I look. Refu") if resets else 0)


async def test_what_is_said_otherwise_begins_anew(settings: Settings, redis: Redis) -> None:
    """Step/Replay."""
    logged = (text("I look. "), BEGUN, DONE, text("Refunded: 9. Bye."))
    got = await after(settings, redis, *logged, params={"then": "By the way, "}, on_worker_loss="continue")
    assert (got.end, answer_of(got)) == (("completed", None), "I look. Refunded: 9. By the way, ")
    assert [reset["reason"] for reset in got.of("reset")] == ["changed"]
    assert till == []


@pytest.mark.parametrize(
    ("app", "unknown", "end", "calls", "words"),
    [
        ("refund", "ask", ("interrupted", "step_unknown"), [], "whether the step refund was done"),
        ("refund", "fail", ("failed", "step_failed"), [], "whether the step refund was done"),
        ("refund", "retry", ("completed", None), [2], ""),
        ("swallows", "ask", ("interrupted", "step_unknown"), [], ""),
        ("swallows", "fail", ("completed", None), [], ""),
    ],
)
async def test_an_unknown_step(
    settings: Settings, redis: Redis, app: str, unknown: str, end: tuple[str, str], calls: list[int], words: str
) -> None:
    """Step/Unknown."""
    logged = (text("I look. "), BEGUN) if app == "refund" else (BEGUN,)
    got = await after(settings, redis, *logged, app=app, params={"unknown": unknown}, on_worker_loss="continue")
    assert (got.end, till) == (end, calls)
    assert words in str(got.of("end")[0]["error"])
    assert got.joined("text").count("I look. ") == (1 if app == "refund" else 0)


async def test_a_result_that_cannot_be_logged_is_remembered_as_done(settings: Settings, redis: Redis) -> None:
    """Step/Result."""
    async with client_of(settings) as client:
        for returns in ("object", "huge", "nested"):
            till.clear()
            stream = await client.start("x", model="app/refund", params={"returns": returns})
            got = await read(client, stream["id"])
            assert till == [1]
            assert len(got.of("step")) == 2
            if returns == "nested":
                assert "Refunded: [1, 2]. " in got.joined("text"), "as JSON gives it back, as to every later attempt"
            else:
                assert got.end == ("failed", "source_error")
                assert "UnfitStepError" in got.state["error"]["message"]
    till.clear()
    logged = (BEGUN, UNFIT)
    again = await after(settings, redis, *logged, params={"unknown": "retry"}, on_worker_loss="restart")
    assert (again.end, till) == (("failed", "source_error"), [])


async def test_the_same_step_is_done_once_in_an_attempt(settings: Settings) -> None:
    """Step/Key, App/Context."""
    async with client_of(settings) as client:
        got = await read(client, (await client.start("x", model="app/twice"))["id"])
        assert (got.joined("text"), len(till)) == ("[1, 1, 2] 1", 2)
        till.clear()
        got = await read(client, (await client.start("x", model="app/blocking"))["id"])
        assert (got.joined("text"), len(till)) == ("1 1 1 1 ", 1)


async def test_who_has_lost_the_stream_begins_no_step(settings: Settings, redis: Redis) -> None:
    """Step/Once."""
    async with client_of(settings) as client:
        stream_id = (await client.start("x", model="app/slow", params={"wait": "before"}))["id"]
        await gates["there"].wait()
        taken_over: Any = redis.hset(Keys("ms").state(stream_id), mapping={"epoch": 2, "owner": "other"})
        await taken_over
        gates["go_on"].set()
        got = await read(client, stream_id)
    assert (got.end, till) == (("interrupted", "worker_lost"), [])
    assert got.of("step") == []


async def test_a_cancel_in_a_step(settings: Settings) -> None:
    """Step/Unknown: its intent stays alone."""
    async with client_of(settings) as client:
        stream_id = (await client.start("x", model="app/slow", params={"wait": "in"}))["id"]
        await gates["there"].wait()
        await client.cancel(stream_id)
        got = await read(client, stream_id)
    assert (got.end, len(till), len(got.of("step"))) == (("cancelled", None), 1, 1)


class SlowDisk:
    """A disk that needs three looks: the server is away, does not say so in time, says so."""

    def __init__(self) -> None:
        self.answers: list[bool | LogUnavailable] = [LogUnavailable("away"), False, True]

    async def wait(self) -> bool:
        """Give the next answer."""
        answer = self.answers.pop(0)
        if isinstance(answer, LogUnavailable):
            raise answer
        return answer


async def test_an_intent_may_wait_for_the_disk(settings: Settings, redis: Redis) -> None:
    """Step/Once: with `MIDSTREAM_DURABLE_INTENT`."""
    log, disk, stream_id = Log(redis, "ms"), SlowDisk(), new_id()
    await create(log, stream_id)
    parts = AttemptParts(settings, log, log, disk, WriteDelays())
    attempt, _ = await Attempt.claim(parts, stream_id, "me")
    await attempt.append_durably([encode(BEGUN)])
    _, rows = await log.read(stream_id, 0, 10)
    assert (disk.answers, [row.content for row in rows[1:]]) == ([], [encode(BEGUN)])
    disk.answers = [True]
    await attempt.seal([encode(Entry("end", {"outcome": "completed"}))], "completed")


@pytest.mark.parametrize(("refusals", "outcome"), [(1, "completed"), (99, "failed")])
async def test_an_app_that_is_tried_again_knows_its_steps(settings: Settings, refusals: int, outcome: str) -> None:
    """Step/Once, Intent/Refused: nor is it run again without an order, if it has begun one."""
    async with client_of(settings) as client, inside.broker(settings) as http:
        stream = await client.start("x", model="app/refused", params={"refusals": refusals})
        got = await read(client, stream["id"])
        again = await http.post(f"/v1/operate/streams/default/{stream['id']}/requeue", json={})
    assert (got.end[0], till, len(got.of("step"))) == (outcome, [1], 2)
    assert again.json()["code"] == ("stream_ended" if outcome == "completed" else "would_pay_again")
