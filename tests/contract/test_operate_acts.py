"""What an operator does about streams (PROTOCOL: Operate)."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from midstream.access.api_keys import digest
from midstream.log.entries import COMPLETED, INTERRUPTED, Entry, decode, encode
from midstream.log.errors import StreamSealed
from midstream.log.log import Log
from midstream.log.trail import Trail
from midstream.log.values import Ending, NewStream, Notes
from midstream.settings import Settings
from midstream.testing.provider.script import Script, directive
from tests import inside
from tests.provider.client import ProviderServer

ROW = '[[keys]]\nname = "{0}"\nsha256 = "{1}"\ntenant = "{2}"\n'
ACTS = [
    *(("POST", "/cancel", None), ("POST", "/requeue", None), ("POST", "/seal", {"reason": "r"})),
    *(("POST", "/trim", None), ("POST", "/retain", {"ttl_s": 60}), ("DELETE", "", None)),
]


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def closed(settings: Settings, tmp_path: Path) -> Settings:
    """Settings with a key of the tenant `acme`, and one of an operator of another tenant."""
    path = tmp_path / "keys.toml"
    operator = ROW.format("ops", digest("ops"), "admin") + 'scopes = ["operate"]\nuser = "olga"\n'
    path.write_text(ROW.format("ada", digest("ada"), "acme") + operator)
    return settings.model_copy(update={"keys_file": path, "lease_ms": 60_000})


@pytest.fixture
async def client(closed: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a broker, as the operator."""
    async with inside.broker(closed) as asking:
        asking.headers |= bearer("ops")
        yield asking


@pytest.fixture
def log(redis: Redis) -> Log:
    return Log(redis, "ms")


async def create(log: Log, stream_id: str, tenant: str = "acme", policy: str = "interrupt") -> str:
    """Create a queued stream without a slip; return its name."""
    name = stream_id if tenant == "default" else f"{tenant}/{stream_id}"
    new = NewStream(digest="d", tenant=tenant, model="demo/count", ttl_s=60, request=b'{"input":"hi"}', policy=policy)
    await log.create(name, new, look_in_ms=9_000)
    return name


async def ended(log: Log, stream_id: str, outcome: str = INTERRUPTED, **fields: Any) -> str:
    """Create a stream with six entries, which has ended; return its name."""
    name = await create(log, stream_id, **fields)
    claim = await log.claim(name, "w", 60_000)
    if outcome != COMPLETED:
        await log.renew(name, claim.fence, 60_000, Notes(intent=1, paid=1))
    tail = await log.append(name, claim.fence, 1, [encode(Entry("text", {"text": f"{n} "})) for n in range(4)])
    end = Entry("end", {"outcome": outcome, "error": None})
    await log.seal(name, claim.fence, tail, Ending([encode(end)], outcome))
    return name


async def test_an_operator_cancels_a_stream_of_any_tenant(client: httpx2.AsyncClient, log: Log) -> None:
    """Operate/Acts, Operate/Scope."""
    await create(log, "s1")
    done = await client.post("/v1/operate/streams/acme/s1/cancel")
    assert (done.status_code, done.json()["tenant"], done.json()["outcome"]) == (202, "acme", "cancelled")
    again = await client.post("/v1/operate/streams/acme/s1/cancel")
    assert (again.status_code, again.json()) == (202, done.json())


async def test_a_seal_shuts_the_worker_out_and_tells_why(client: httpx2.AsyncClient, log: Log) -> None:
    """Operate/Seal, I3, I6: while its worker appends as fast as it can."""
    name = await create(log, "s1")
    claim = await log.claim(name, "w", 60_000)

    async def append() -> int:
        tail = claim.state.tail
        with contextlib.suppress(StreamSealed):
            while True:
                tail = await log.append(name, claim.fence, tail, [encode(Entry("text", {"text": "x"}))])
        return tail

    appending = asyncio.create_task(append())
    reason = 'it hangs"\r\n\x1b[31m\u202e} <b>'
    seals = [client.post("/v1/operate/streams/acme/s1/seal", json={"reason": reason}) for _ in range(2)]
    answers = sorted(await asyncio.gather(*seals), key=lambda answer: answer.status_code)
    assert [answer.status_code for answer in answers] == [200, 409], "of two operators one is first"
    assert answers[1].json()["code"] == "stream_ended"
    tail = await appending
    state, (last,) = await log.read(name, tail, 10)
    assert state is not None
    assert (state.outcome, state.tail, last.offset) == (INTERRUPTED, tail + 1, tail + 1)
    end = decode(last.content, last.offset, last.epoch).data
    assert end["error"] == {"code": "sealed_by_operator", "message": reason}


async def test_a_queued_stream_is_sealed_and_its_slip_finds_it_ended(client: httpx2.AsyncClient, log: Log) -> None:
    """Operate/Seal."""
    name = await create(log, "s1")
    assert (await client.post("/v1/operate/streams/acme/s1/seal", json={"reason": "r"})).status_code == 200
    with pytest.raises(StreamSealed):
        await log.claim(name, "w", 1_000)
    for body in ({}, {"reason": ""}, {"reason": "x" * 501}, {"reason": "r", "more": 1}):
        assert (await client.post("/v1/operate/streams/acme/s1/seal", json=body)).status_code == 400


async def test_the_slip_of_a_queued_stream_is_written_again(client: httpx2.AsyncClient, log: Log, redis: Redis) -> None:
    """Operate/Requeue."""
    name = await create(log, "s1")
    for _ in range(2):
        assert (await client.post("/v1/operate/streams/acme/s1/requeue")).status_code == 200
    assert await redis.zrange("ms:queue", 0, -1) == [f"{name}.0".encode()]
    await log.claim(name, "w", 60_000)
    held = await client.post("/v1/operate/streams/acme/s1/requeue")
    assert (held.status_code, held.json()["code"]) == (409, "stream_running")
    await client.delete("/v1/operate/streams/acme/s1")
    assert (await client.delete("/v1/operate/streams/acme/s1")).status_code == 404


async def test_a_call_is_paid_again_by_order_alone(client: httpx2.AsyncClient, log: Log, closed: Settings) -> None:
    """Operate/Requeue, I3, I4: the first stream stays as it ended, and any number of orders begin one other stream."""
    name = await ended(log, "s1")
    before = await log.state(name)
    url = "/v1/operate/streams/acme/s1/requeue"
    for body in (None, {"pay_again": False}):
        refused = await client.post(url, json=body)
        assert (refused.status_code, refused.json()["code"]) == (409, "would_pay_again")
    async with inside.worker(closed):
        answers = await asyncio.gather(*(client.post(url, json={"pay_again": True}) for _ in range(3)))
        assert sorted(answer.status_code for answer in answers) == [200, 200, 201]
        (other,) = {answer.json()["id"] for answer in answers}
        assert answers[0].json()["requeued_from"] == "s1"
        answer = await client.get(f"/v1/streams/{other}?wait=10", headers=bearer("ada"))
    assert (answer.json()["outcome"], answer.json()["messages"][0]["content"]) == ("completed", "hi")
    assert await log.state(name) == before
    done = await client.post(f"/v1/operate/streams/acme/{other}/requeue", json={"pay_again": True})
    assert (done.status_code, done.json()["code"]) == (409, "stream_ended")


async def test_what_was_refused_unbilled_is_called_again_without_an_order(
    closed: Settings, provider: ProviderServer
) -> None:
    """Operate/Requeue, Intent/Refused: and what may have been billed is not."""
    called = closed.model_copy(update={"openai_api_key": SecretStr("k"), "openai_base_url": f"{provider.url}/v1"})
    async with inside.broker(called) as asking, inside.worker(called):
        statuses = {}
        for status in (401, 429, 500):
            script = Script(words=2, fail="status", fail_at=-1, fail_times=1, status=status)
            body = {"model": "openai/gpt", "input": directive(script), "retry": "never"}
            begun = (await asking.post("/v1/streams", json=body, headers=bearer("ada"))).json()["id"]
            await asking.get(f"/v1/streams/{begun}?wait=10", headers=bearer("ada"))
            answer = await asking.post(f"/v1/operate/streams/acme/{begun}/requeue", headers=bearer("ops"))
            statuses[status] = answer.status_code
            if answer.status_code == 201:
                url = f"/v1/streams/{answer.json()['id']}?wait=10"
                ended = (await asking.get(url, headers=bearer("ada"))).json()
                assert ended["outcome"] == "completed"
    assert statuses == {401: 201, 429: 201, 500: 409}


async def test_what_was_paid_is_read_on_by_another_stream(client: httpx2.AsyncClient, log: Log) -> None:
    """Operate/Requeue: where the upstream's id is known."""
    name = await create(log, "s1", policy="reattach")
    claim = await log.claim(name, "w", 60_000)
    await log.renew(name, claim.fence, 60_000, Notes(intent=1, paid=1, upstream_id="resp_1"))
    await client.post("/v1/operate/streams/acme/s1/seal", json={"reason": "r"})
    begun = await client.post("/v1/operate/streams/acme/s1/requeue")
    assert begun.status_code == 201
    other = await log.state(f"acme/{begun.json()['id']}")
    assert other is not None
    assert (other.upstream_id, other.intent > 0, other.paid, other.policy) == ("resp_1", True, 0, "reattach")
    url = f"/v1/operate/streams/acme/{begun.json()['id']}"
    await client.post(f"{url}/seal", json={"reason": "the provider has forgotten it"})
    paid = await client.post(f"{url}/requeue", json={"pay_again": True})
    third = await log.state(f"acme/{paid.json()['id']}")
    assert third is not None
    assert (paid.status_code, third.upstream_id, third.intent) == (201, "", 0)
    for stream_id in (begun.json()["id"], paid.json()["id"]):
        await client.delete(f"/v1/operate/streams/acme/{stream_id}")


async def test_a_trimmed_log_is_never_shown_without_its_beginning(
    client: httpx2.AsyncClient, log: Log, redis: Any
) -> None:
    """Operate/Trim, Read/Trimmed: not to a tail that is open in this broker either."""
    await ended(log, "s1", COMPLETED)
    ada = bearer("ada")
    async with client.stream("GET", "/v1/streams/s1/events", headers=ada):  # opens the broker's follower
        trimmed = await client.post("/v1/operate/streams/acme/s1/trim", json={"first_offset": 4})
        assert (trimmed.status_code, trimmed.json()["first"], trimmed.json()["tail"]) == (200, 4, 6)
    for path in ("/v1/streams/s1/events", "/v1/streams/s1/entries", "/v1/streams/s1?wait=1"):
        gone = await client.get(path, headers=ada)
        assert (gone.status_code, gone.json()["first_offset"]) == (410, 4)
    rest = await client.get("/v1/streams/s1/events?after=3", headers=ada)
    assert re.findall(r"id: (\d+)", rest.text) == ["4", "5", "6"]
    assert (await client.post("/v1/operate/streams/acme/s1/trim")).json()["first"] == 6
    state = await log.state("acme/s1")
    assert state is not None
    assert sum(map(int, await redis.hvals("ms:stored:acme"))) == state.stored_bytes, "Limits/Stored"
    await create(log, "s2")
    live = await client.post("/v1/operate/streams/acme/s2/trim")
    assert (live.status_code, live.json()["code"]) == (409, "stream_not_ended")
    await client.post("/v1/operate/streams/acme/s2/cancel")


async def test_no_peers_client_is_shown_an_answer_without_its_beginning(
    client: httpx2.AsyncClient, closed: Settings
) -> None:
    """Read/Trimmed."""
    ada, ask = bearer("ada"), {"model": "demo/count", "input": "hi"}
    async with inside.worker(closed):
        response_id = (await client.post("/v1/responses", json=ask, headers=ada)).json()["id"]
    await client.post(f"/v1/operate/streams/acme/{response_id.removeprefix('resp_')}/trim")
    for path in (f"/v1/responses/{response_id}", f"/v1/responses/{response_id}?stream=true"):
        assert (await client.get(path, headers=ada)).status_code == 410
    later = await client.post("/v1/responses", json=ask | {"previous_response_id": response_id}, headers=ada)
    assert (later.status_code, later.json()["error"]["code"]) == (410, "cursor_trimmed")


async def test_a_retention_is_changed(client: httpx2.AsyncClient, log: Log, redis: Redis, closed: Settings) -> None:
    """Operate/Acts, Retention/Change."""
    name = await ended(log, "s1")
    url = "/v1/operate/streams/acme/s1/retain"
    assert (await client.post(url, json={"ttl_s": 4_000})).json()["ttl_s"] == 4_000
    assert 3_990 < await redis.ttl(f"ms:{{{name}}}:log") <= 4_000
    too_long = await client.post(url, json={"ttl_s": closed.max_ttl_s + 1})
    assert (too_long.status_code, too_long.json()["errors"][0]["at"]) == (400, "ttl_s")


async def test_the_audit_says_who_did_what(client: httpx2.AsyncClient, log: Log, redis: Redis) -> None:
    """Operate/Audit."""
    await ended(log, "s1")
    traced = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"}
    for act in ("cancel", "requeue"):
        await client.post(f"/v1/operate/streams/acme/s1/{act}", headers=traced)
    await client.post("/v1/operate/streams/acme/absent/cancel")
    rows = (await client.get("/v1/operate/audit")).json()["data"]
    assert [(row["act"], row["stream"], row["result"], row.get("reason")) for row in rows] == [
        ("cancel", "s1", "done", None),
        ("requeue", "s1", "refused", "would_pay_again"),
        ("cancel", "absent", "refused", "stream_not_found"),
    ]
    assert {(row["tenant"], row["by"]["tenant"], row["by"]["user"]) for row in rows} == {("acme", "admin", "olga")}
    assert all(row["by"]["request"].startswith("req_") and "ops" in row["by"]["credential"] for row in rows)
    later = (await client.get(f"/v1/operate/audit?after={rows[0]['id']}&limit=1")).json()["data"]
    assert later == rows[1:2]
    assert (await client.get("/v1/operate/audit?limit=1")).json()["data"] == rows[2:]
    assert (await client.get("/v1/operate/audit?after=x")).json()["code"] == "bad_cursor"
    assert await redis.ttl("ms:trail") > 30_000_000
    trail = Trail(redis, "ms")
    for number in range(1_000):
        await trail.add({"number": number}, 100)
    assert await redis.xlen("ms:trail") < 400


async def test_nobody_else_acts_on_anything(client: httpx2.AsyncClient, log: Log) -> None:
    """Operate/Scope: the tenant's own key as well is refused, whether there is such a stream or not."""
    name = await create(log, "s1")
    for method, path, body in ACTS:
        for stream_id in ("s1", "absent"):
            url = f"/v1/operate/streams/acme/{stream_id}{path}"
            refused = await client.request(method, url, json=body, headers=bearer("ada"))
            assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
            assert (await client.request(method, url, json=body, headers=bearer("unknown"))).status_code == 401
    state = await log.state(name)
    assert state is not None
    assert state.status == "queued"
    await client.post("/v1/operate/streams/acme/s1/cancel")


@pytest.mark.parametrize("path", ["acme/absent", "nobody/s1", "a%7Bb%7D/s1", "a%0Ab/s1", "default/acme%2Fs1"])
async def test_what_is_not_there_is_404(client: httpx2.AsyncClient, path: str) -> None:
    """Operate/Acts."""
    for method, act, body in ACTS:
        answer = await client.request(method, f"/v1/operate/streams/{path}{act}", json=body)
        assert answer.status_code == 404


async def test_an_open_brokers_operator_reaches_no_tenants_streams(settings: Settings, log: Log) -> None:
    """Operate/Scope."""
    theirs, own = await create(log, "s1"), await create(log, "s1", "default")
    async with inside.broker(settings) as client:
        for tenant, status in (("acme", 404), ("default", 202)):
            answer = await client.post(f"/v1/operate/streams/{tenant}/s1/cancel")
            assert answer.status_code == status
    states = await log.states([theirs, own])
    assert [state and state.status for state in states] == ["queued", "ended"]
    await log.delete(theirs, 1)
