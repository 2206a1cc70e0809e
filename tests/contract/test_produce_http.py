"""A producer in any language, by HTTP (PROTOCOL: Produce/Http)."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from redis.asyncio import Redis

from midstream.settings import Settings
from tests import inside
from tests.contract.ws_talk import dial

OWNER = "a-random-word-of-mine"
HI = {"type": "text", "text": "Hi"}


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with inside.broker(settings) as client:
        yield client


class RawProducer:
    """What a program in another language does."""

    def __init__(self, client: httpx2.AsyncClient, started: dict[str, Any]) -> None:
        self.client = client
        self.id: str = started["id"]
        self.fence = {"Stream-Epoch": str(started["epoch"]), "Stream-Owner": started["owner"]}
        self.tail: int = started["tail"]

    async def send(self, *entries: Any, **headers: str) -> httpx2.Response:
        body = "".join(f"{each if isinstance(each, str) else json.dumps(each)}\n" for each in entries)
        sent = {"Stream-Tail": str(self.tail), "Content-Type": "application/x-ndjson"}
        url = f"/v1/streams/{self.id}/entries"
        return await self.client.post(url, content=body, headers=self.fence | sent | headers)

    async def append(self, *entries: Any) -> None:
        answer = await self.send(*entries)
        assert answer.status_code == 200, answer.text
        self.tail = answer.json()["tail"]

    async def renew(self) -> httpx2.Response:
        return await self.client.post(f"/v1/streams/{self.id}/lease", headers=self.fence)

    async def seal(self, outcome: str = "completed", **fields: Any) -> httpx2.Response:
        headers = self.fence | {"Stream-Tail": str(self.tail)}
        body = {"outcome": outcome, **fields}
        return await self.client.post(f"/v1/streams/{self.id}/seal", json=body, headers=headers)

    async def ended(self) -> dict[str, Any]:
        answer = await self.client.get(f"/v1/streams/{self.id}", params={"wait": 5})
        state: dict[str, Any] = answer.json()
        assert state["status"] == "ended"
        return state


async def begun(client: httpx2.AsyncClient, headers: dict[str, str] | None = None, **fields: Any) -> RawProducer:
    answer = await client.post("/v1/streams", json={"producer": "external"} | fields, headers=headers)
    assert answer.status_code == 201, answer.text
    return RawProducer(client, answer.json())


def refused(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


@pytest.mark.parametrize("ends", ["by its producer", "by its producer, with the usage", "at a limit"])
async def test_its_usage_is_priced_as_a_workers(settings: Settings, tmp_path: Path, ends: str) -> None:
    """Money/Cost, Produce/Http."""
    (tmp_path / "prices.toml").write_text('currency = "USD"\n[models]\n"external/*" = {input = 1, output = 2}\n')
    update: dict[str, Any] = {"prices_file": tmp_path / "prices.toml"}
    if ends == "at a limit":
        update |= {"stream_entries": 3}
    usage: dict[str, Any] = {"input_tokens": 100, "output_tokens": 50}
    async with inside.broker(settings.model_copy(update=update)) as client:
        producer = await begun(client, model="external/go")
        in_the_end = ends == "by its producer, with the usage"
        await producer.append(HI, HI if in_the_end else {"type": "usage", **usage})
        if ends.startswith("by its producer"):
            await producer.seal("completed", **{"usage": usage} if in_the_end else {})
        elif ends == "at a limit":
            await producer.send(HI)
        assert (await producer.ended())["cost"] == {"amount": "0.0002", "currency": "USD"}


async def test_a_stream_from_its_start_to_its_seal(client: httpx2.AsyncClient, redis: Redis) -> None:
    """Produce/Http, Produce/Entries."""
    producer = await begun(client, model="external/go", thread="t1", input="Why?")
    assert producer.tail == 1
    await producer.append({"type": "reasoning", "text": "Hm."}, HI, {"type": "tool_call", **_call({"at": "sky"})})
    await producer.append({"type": "usage", "input_tokens": 1, "output_tokens": 2}, {"type": "data", "kind": "mood"})
    assert producer.tail == 6
    usage = {"input_tokens": 1, "output_tokens": 2, "details": {}}
    assert (await producer.seal(finish_reason="length", usage=usage)).json() == {"tail": 7, "outcome": "completed"}
    state = await producer.ended()
    assert (state["model"], state["thread"], state["finish_reason"]) == ("external/go", "t1", "length")
    assert (state["output"]["text"], state["usage"]) == ("Hi", usage)
    assert await redis.zcard("ms:queue") == 0


async def test_a_key_is_taken_up_with_its_steps(client: httpx2.AsyncClient) -> None:
    """Produce/Taken up, Produce/Entries, Step/Private."""
    key = {"Idempotency-Key": "order-77"}
    first = await begun(client, key)
    done = {"name": "pay", "key": "k1", "state": "done", "result": {"receipt": 5}}
    unknown = {"name": "send", "key": "k2", "state": "begun", "arguments": {"to": "ada"}}
    await first.append({"type": "step", "name": "pay", "key": "k1", "state": "begun", "arguments": {}})
    await first.append({"type": "step", **done}, {"type": "step", **unknown})
    assert (await first.seal("failed", code="step_unknown")).status_code == 400
    await first.seal("interrupted", code="step_unknown")
    assert (await first.ended())["error"]["code"] == "step_unknown"
    page = (await client.get(f"/v1/streams/{first.id}/entries")).json()["data"]
    assert [each["data"] for each in page if each["type"] == "step"] == [{"type": "step"}] * 3
    headers = key | {"Stream-Take-Up": "true", "Stream-Owner": OWNER}
    answers = [await client.post("/v1/streams", json={"producer": "external"}, headers=headers) for _ in range(2)]
    assert [each.status_code for each in answers] == [201, 200]
    assert answers[0].json()["steps"] == answers[1].json()["steps"] == [done, unknown]
    assert answers[0].json()["id"] == answers[1].json()["id"] != first.id
    for body, more, code in (({}, key, "already_produced"), ({"thread": "t"}, headers, "idempotency_mismatch")):
        answer = await client.post("/v1/streams", json={"producer": "external"} | body, headers=more)
        assert answer.json()["code"] == code
    no_key = await client.post("/v1/streams", json={"producer": "external"}, headers={"Stream-Take-Up": "true"})
    assert refused(no_key) == (400, "bad_request")
    await RawProducer(client, answers[0].json()).seal()


def _call(arguments: Any) -> dict[str, Any]:
    return {"id": "c1", "name": "look", "arguments": arguments}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"type": "text"}, "a `text` has the fields `text`"),
        ({"type": "text", "text": 5}, "not a string"),
        ({"type": "text", "text": "x", "more": 1}, "has the fields"),
        ({"type": "end", "outcome": "completed"}, "an app can write"),
        ({"type": "start", "epoch": 9}, "an app can write"),
        ({"type": "nonsense"}, "an app can write"),
        ({"type": "data"}, "`kind`"),
        ({"type": "tool_result", "call_id": [1]}, "`call_id` is of type list"),
        ({"type": "tool_call", "id": "c1", "name": "look", "arguments": 5}, "not a string"),
        ({"type": "usage", "input_tokens": -1, "output_tokens": 0}, "out of range"),
        ({"type": "step", "name": "pay", "key": "k", "state": "begun"}, "a `step` has"),
        ({"type": "step", "name": "pay", "key": "k", "state": "begun", "result": 1}, "a `step` has"),
        ({"type": "step", "name": "pay", "key": 5, "state": "done", "result": 1}, "a `step` has"),
        ({"type": "step", "name": "pay", "key": "k", "state": [], "result": 1}, "a `step` has"),
        ({"type": "step", "name": "pay", "key": "k", "state": "done", "result": "x" * 65_536}, "MIDSTREAM_STEP_BYTES"),
        (["text"], "no object"),
        ({"text": "x"}, "no object"),
    ],
)
async def test_a_bad_entry_is_named_and_nothing_of_its_batch_is_written(
    client: httpx2.AsyncClient, entry: Any, words: str
) -> None:
    """Produce/Entries."""
    producer = await begun(client)
    answer = await producer.send(HI, entry, HI)
    assert refused(answer) == (400, "bad_entry")
    assert answer.json()["index"] == 1
    assert words in answer.json()["detail"]
    await producer.append(HI)
    assert producer.tail == 2
    await producer.seal()


async def test_a_body_that_is_no_batch(client: httpx2.AsyncClient) -> None:
    """Produce/Entries."""
    producer = await begun(client)
    assert refused(await producer.send()) == (400, "bad_request")
    assert refused(await producer.send(*[HI] * 1_001)) == (400, "bad_request")
    assert refused(await producer.send("{")) == (400, "bad_request")
    assert refused(await producer.send(HI, **{"Stream-Tail": "x"})) == (400, "bad_request")
    assert refused(await producer.send(HI, **{"Content-Type": "text/plain"})) == (415, "unsupported_media_type")
    assert (await producer.renew()).json()["tail"] == 1
    await producer.append(*[{"type": "text", "text": "x" * 200}] * 1_000)
    await producer.seal()


async def test_what_is_sent_again_is_there_once(client: httpx2.AsyncClient) -> None:
    """Produce/Repeated."""
    headers = {"Idempotency-Key": "k", "Stream-Owner": OWNER}
    producer = await begun(client, headers)
    again = await client.post("/v1/streams", json={"producer": "external"}, headers=headers)
    assert (again.status_code, again.json()["id"], again.json()["epoch"]) == (200, producer.id, 1)
    first, second = await producer.send(HI, HI), await producer.send(HI, HI)
    assert (first.json()["tail"], first.json()["repeated"]) == (3, False)
    assert (second.json()["tail"], second.json()["repeated"]) == (3, True)
    shorter = await producer.send(HI)
    assert (shorter.json()["tail"], shorter.json()["repeated"]) == (2, True)
    other = await producer.send(HI, {"type": "text", "text": "else"})
    assert (refused(other), other.json()["tail"]) == ((409, "tail_mismatch"), 3)
    ahead = await producer.send(HI, **{"Stream-Tail": "9"})
    assert (refused(ahead), ahead.json()["tail"]) == ((409, "tail_mismatch"), 3)
    producer.tail = 3
    assert (await producer.seal()).status_code == (await producer.seal()).status_code == 200
    assert refused(await producer.seal("failed")) == (409, "stream_ended")
    assert (await producer.ended())["output"]["text"] == "HiHi"


async def test_only_the_producer_appends(client: httpx2.AsyncClient) -> None:
    """Produce/Fenced."""
    producer = await begun(client, {"Idempotency-Key": "k"})
    other = await client.post("/v1/streams", json={"producer": "external"}, headers={"Idempotency-Key": "k"})
    assert (refused(other), other.json()["id"]) == ((409, "already_produced"), producer.id)
    for wrong in ({"Stream-Owner": OWNER}, {"Stream-Epoch": "2"}):
        stale = await producer.send(HI, **wrong)
        assert (refused(stale), stale.json()["epoch"]) == ((409, "stale_epoch"), 1)
    await producer.seal()
    late = await producer.send(HI)
    assert (refused(late), late.json()["outcome"]) == ((409, "stream_ended"), "completed")
    assert refused(await producer.renew()) == (409, "stream_ended")


async def test_a_failure_has_the_producers_words_and_our_code(client: httpx2.AsyncClient) -> None:
    """Produce/Http."""
    producer = await begun(client)
    assert refused(await producer.seal(usage={"input_tokens": "many"})) == (400, "bad_entry")
    assert refused(await producer.seal("cancelled")) == (400, "bad_request")
    await producer.seal("failed", message="The tool is \x00 away.")
    error = (await producer.ended())["error"]
    assert (error["code"], "\x00" in error["message"]) == ("source_error", False)


async def test_a_cancel_ends_the_stream_at_the_next_request(client: httpx2.AsyncClient) -> None:
    """Produce/Limits."""
    producer = await begun(client)
    await producer.append(HI)
    await client.post(f"/v1/streams/{producer.id}/cancel")
    answer = await producer.send(HI)
    assert (refused(answer), answer.json()["outcome"]) == ((409, "stream_ended"), "cancelled")
    state = await producer.ended()
    assert (state["outcome"], state["output"]["text"]) == ("cancelled", "Hi")


async def test_limits_end_the_stream(settings: Settings) -> None:
    """Produce/Limits."""
    async with inside.broker(settings.model_copy(update={"stream_entries": 3})) as client:
        producer = await begun(client)
        await producer.append(HI, HI)
        assert refused(await producer.send(HI)) == (409, "stream_ended")
        assert (await producer.ended())["error"]["code"] == "output_too_large"


async def test_a_start_may_have_a_time_out_of_its_own(client: httpx2.AsyncClient) -> None:
    """Sources/Time."""
    patient, hasty = await begun(client, generation_timeout_s=20), await begun(client, generation_timeout_s=0.05)
    await asyncio.sleep(0.06)
    await patient.append(HI)
    assert refused(await hasty.send(HI)) == (409, "stream_ended")
    state = await hasty.ended()
    assert (state["outcome"], state["error"]["code"]) == ("failed", "generation_timeout")
    assert state["error"]["message"] == "It took longer than 0.05 s."
    await patient.seal()


async def test_a_silent_producer_is_lost_and_one_that_renews_is_not(
    client: httpx2.AsyncClient, settings: Settings
) -> None:
    """Produce/Http, I3."""
    silent, living = await begun(client), await begun(client)
    began_s = time.monotonic()
    while time.monotonic() - began_s < 1.5 * settings.lease_ms / 1000:
        await asyncio.sleep(settings.lease_ms / 3000)
        assert (await living.renew()).status_code == 200
    state = await silent.ended()
    assert (state["outcome"], state["error"]["code"]) == ("interrupted", "producer_lost")
    assert refused(await silent.send(HI)) == (409, "stream_ended")
    await living.append(HI)
    await living.seal()


async def test_a_start_that_does_not_fit(client: httpx2.AsyncClient) -> None:
    """Produce/Http."""
    for fields in ({"model": "openai/gpt"}, {"stream": True}, {"producer": "me"}, {"ttl_s": 10**8}):
        answer = await client.post("/v1/streams", json={"producer": "external"} | fields)
        assert refused(answer) == (400, "bad_request")


async def test_a_socket_starts_none(client: httpx2.AsyncClient) -> None:
    """Produce/Http."""
    async with dial(client) as talk:
        await talk.say(type="start", request={"producer": "external"})
        answer = await talk.hear("error")
    assert answer["code"] == "bad_request"
    assert (await client.get("/v1/streams")).json()["data"] == []


async def test_an_intent_that_the_server_could_lose_is_not_logged(settings: Settings) -> None:
    """Step/Producer: the server of the tests confirms sooner than it writes to its disk."""
    begins = {"type": "step", "name": "pay", "key": "k1", "state": "begun", "arguments": {}}
    async with inside.broker(settings.model_copy(update={"durable_intent": True})) as client:
        producer = await begun(client)
        assert refused(await producer.send(begins)) == (409, "unfit_server")
        await producer.append(HI)
        await producer.seal()
        assert (await producer.ended())["tail"] == 3
