"""A producer on a WebSocket, with nothing but messages (PROTOCOL: Ws/Producers)."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from midstream.settings import Settings
from tests import inside, sse
from tests.contract.ws_talk import Talk, dial

OWNER = "a-random-word-of-mine"
HI = {"type": "text", "text": "Hi"}


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with inside.broker(settings) as client:
        yield client


@pytest.fixture
async def talk(client: httpx2.AsyncClient) -> AsyncIterator[Talk]:
    async with dial(client) as talk:
        await talk.hear("ready")
        yield talk


class SocketProducer:
    """What a program without an HTTP client does."""

    def __init__(self, talk: Talk, begun: dict[str, Any]) -> None:
        self.talk = talk
        self.id: str = begun["id"]
        self.tail: int = begun["tail"]
        self.fence = {name: begun[name] for name in ("id", "epoch", "owner")}

    async def ask(self, kind: str, **fields: Any) -> dict[str, Any]:
        await self.talk.say(type=kind, ref=kind, **self.fence | fields)
        answer = await self.talk.hear()
        assert answer.pop("ref") == kind
        return answer

    async def append(self, *entries: Any, **fields: Any) -> dict[str, Any]:
        return await self.ask("append", **{"tail": self.tail, "entries": entries} | fields)

    async def seal(self, **fields: Any) -> dict[str, Any]:
        return await self.ask("seal", **{"tail": self.tail} | fields)


async def begun(talk: Talk, **fields: Any) -> SocketProducer:
    await talk.say(type="produce", **fields)
    return SocketProducer(talk, await talk.hear("producing"))


async def test_a_stream_from_its_start_to_its_seal(client: httpx2.AsyncClient, talk: Talk, settings: Settings) -> None:
    """Ws/Producers."""
    request = {"producer": "external", "model": "external/esp32", "thread": "t1"}
    producer = await begun(talk, request=request)
    await talk.say(type="tail", id=producer.id)
    assert (await talk.hear("entries"))["entries"][0]["type"] == "start"
    async with dial(client) as other:  # the stream is not the socket's
        await other.hear("ready")
        producer.talk = other
        answer = await producer.append(HI, {"type": "usage", "input_tokens": 1, "output_tokens": 2})
        leased = {"id": producer.id, "tail": 3, "lease_ms": settings.lease_ms}
        assert answer == leased | {"type": "appended", "repeated": False}
        assert await producer.ask("lease") == leased | {"type": "leased"}
        producer.tail = 3
        assert await producer.seal(finish_reason="length") == {
            "type": "sealed",
            "id": producer.id,
            "tail": 4,
            "outcome": "completed",
        }
    entries = (await talk.entries(producer.id))[producer.id]
    assert [entry["type"] for entry in entries] == ["text", "usage", "end"]
    assert entries[-1]["finish_reason"] == "length"
    state = (await client.get(f"/v1/streams/{producer.id}")).json()
    assert (state["model"], state["thread"], state["on_worker_loss"]) == ("external/esp32", "t1", "external")


async def test_what_is_sent_again_is_there_once(client: httpx2.AsyncClient, talk: Talk) -> None:
    """Ws/Producers, Produce/Repeated."""
    again: dict[str, Any] = {"idempotency_key": "k", "owner": OWNER}
    producer = await begun(talk, **again)
    await talk.say(type="produce", **again)
    answer = await talk.hear("producing")
    assert (answer["id"], answer["created"], answer["epoch"], answer["status"]) == (producer.id, False, 1, "running")
    await talk.say(type="produce", **again | {"owner": "another-word-of-mine"})
    refused = await talk.hear("error")
    assert (refused["code"], refused["id"]) == ("already_produced", producer.id)
    # The socket goes away in the middle of an append; whether it was read nobody can tell.
    async with dial(client) as other:
        await other.hear("ready")
        await other.say(type="append", tail=1, entries=[HI] * 1_000, **producer.fence)
        other.socket.transport.abort()
    assert (await producer.append(*[HI] * 1_000))["tail"] == 1_001
    assert (await producer.append(*[HI] * 1_000))["repeated"] is True
    producer.tail = 1_001
    assert (await producer.seal())["tail"] == (await producer.seal())["tail"] == 1_002
    assert sse.text(await sse.tail(client, producer.id)) == "Hi" * 1_000


async def test_of_two_at_once_one_appends(client: httpx2.AsyncClient, talk: Talk) -> None:
    """Ws/Producers, Append/Tail."""
    producer = await begun(talk)
    async with dial(client) as other:
        await other.hear("ready")
        for socket, word in ((talk, "a"), (other, "b")):
            await socket.say(type="append", tail=1, entries=[{"type": "text", "text": word}], **producer.fence)
        answers = [await socket.hear() for socket in (talk, other)]
    assert sorted(answer["type"] for answer in answers) == ["appended", "error"]
    assert {answer.get("code") for answer in answers} == {None, "tail_mismatch"}
    producer.tail = 2
    assert (await producer.seal())["tail"] == 3


async def test_a_refusal_names_what_is_wrong_and_appends_nothing(client: httpx2.AsyncClient, talk: Talk) -> None:
    """Ws/Producers, Produce/Fenced, Produce/Entries."""
    producer = await begun(talk)

    async def refused(entries: Any, **fields: Any) -> tuple[Any, ...]:
        answer = await producer.ask("append", **{"tail": 1, "entries": entries} | fields)
        assert (answer["type"], answer["id"]) == ("error", producer.id)
        facts = answer.keys() - {"type", "id", "code", "message", "errors"}
        return answer["code"], *(answer[name] for name in facts)

    assert await refused([HI, {"type": "end"}]) == ("bad_entry", 1)
    assert await refused([]) == ("bad_request",)
    assert await refused([HI] * 1_001) == ("bad_request",)
    assert await refused([HI], tail=9) == ("tail_mismatch", 1)
    assert await refused([HI], epoch=2) == ("stale_epoch", 1)
    assert await refused([HI], owner=OWNER) == ("stale_epoch", 1)
    for bad in ({"entries": "text"}, {"tail": -1}, {"epoch": 0}, {"owner": "short"}, {"more": 1}):
        await talk.say(**{"type": "append", "tail": 1, "entries": [HI], **producer.fence} | bad)
        assert (await talk.hear())["code"] == "bad_message"
    for request in ({"input": "Why?"}, {"producer": "external", "model": "openai/x"}):
        await talk.say(type="produce", request=request)
        assert (await talk.hear())["code"] == "bad_message"
    await talk.say(type="start", request={"producer": "external"})
    assert "produce" in (await talk.hear())["message"]
    assert (await client.post(f"/v1/streams/{producer.id}/cancel")).status_code == 202
    assert await refused([HI]) == ("stream_ended", "cancelled")
    assert (await producer.ask("lease"))["code"] == "stream_ended"
    assert (await producer.seal())["code"] == "stream_ended"
    assert (await client.get(f"/v1/streams/{producer.id}")).json()["tail"] == 2


async def test_a_message_that_is_too_large_closes_the_socket_and_not_the_stream(
    client: httpx2.AsyncClient, talk: Talk, settings: Settings
) -> None:
    """Ws/Producers, Ws/Key."""
    producer = await begun(talk)
    large = {"type": "text", "text": "x" * settings.max_body_bytes}
    await talk.say(type="append", tail=1, entries=[large], **producer.fence)
    assert await talk.until_closed([]) == 1009
    fence = {"Stream-Epoch": "1", "Stream-Owner": producer.fence["owner"], "Stream-Tail": "1"}
    assert (await client.post(f"/v1/streams/{producer.id}/seal", json={}, headers=fence)).json()["tail"] == 2
