"""What happens to readers whose credential ends while they read (PROTOCOL: Access/Ending, Ws/Renewal)."""

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed

from midstream import file_watch
from midstream.access.api_keys import digest
from midstream.http.socket import socket_credential
from midstream.settings import Settings
from tests.contract.access_calls import ADMIN, bearer, read_token, served, started
from tests.contract.ws_talk import Talk, dial
from tests.sse import Event, tail

SLOW = {"words": 50, "delay_ms": 100}
"""An answer of about 5 s."""
ENDLESS = {"words": 10_000, "delay_ms": 100}
ROW = '[[keys]]\nname = "{0}"\nsha256 = "{1}"\ntenant = "acme"\n'


async def begun(client: httpx2.AsyncClient, params: dict[str, int], headers: dict[str, str] = ADMIN) -> str:
    request = {"model": "demo/count", "input": "x", "params": params}
    answer = await client.post("/v1/streams", json=request, headers=headers)
    stream_id: str = answer.json()["id"]
    return stream_id


async def log_of(client: httpx2.AsyncClient, stream_id: str) -> list[Event]:
    """Return the whole log of a stream, after its end."""
    await client.get(f"/v1/streams/{stream_id}?wait=20", headers=ADMIN)
    page = (await client.get(f"/v1/streams/{stream_id}/entries?limit=1000", headers=ADMIN)).json()
    return [Event(row["offset"], row["type"], {"type": row["type"], **row["data"]}) for row in page["data"]]


async def test_a_tail_ends_with_its_token_and_goes_on_with_the_next_one(settings: Settings) -> None:
    """Access/Ending, I2, I5."""
    async with served(settings) as client:
        stream_id = await begun(client, SLOW)
        read: list[Event] = []
        renewals = 0
        while not read or read[-1].type != "end":
            client.headers = httpx2.Headers(bearer(await read_token(client, stream=stream_id, ttl_s=2)))
            *events, last = await tail(client, stream_id, read[-1].id if read else 0)
            read += events
            if last.type == "parting":
                assert last == Event(0, "parting", {"type": "parting", "reason": "token_expired"})
                renewals += 1
            else:
                read.append(last)
        assert renewals >= 2
        assert read == await log_of(client, stream_id)


async def test_a_wait_by_a_token_lasts_no_longer_than_the_token(settings: Settings) -> None:
    """Access/Ending."""
    async with served(settings) as client:
        stream_id = await begun(client, ENDLESS)
        headers = bearer(await read_token(client, stream=stream_id, ttl_s=1))
        answer = await client.get(f"/v1/streams/{stream_id}?wait=15", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "token_expired")
        state = await client.get(f"/v1/streams/{stream_id}", headers=ADMIN)
        assert state.json()["status"] in ("queued", "running"), "the generation goes on"


async def revoked(path: Path) -> None:
    replacement = path.with_suffix(".new")
    replacement.write_text("")
    replacement.rename(path)


@pytest.mark.parametrize("way", ["auto", "off"])
async def test_a_revoked_key_ends_what_is_read_by_it_in_every_format(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Access/Ending, Faces/Never silent."""
    monkeypatch.setattr(file_watch, "LOOK_S", 0.02)
    path = tmp_path / "keys.toml"
    path.write_text(ROW.format("one", digest("one")))
    mine = bearer("one")
    posts: dict[str, dict[str, Any]] = {
        "/v1/responses": {"input": "x"},
        "/v1/chat/completions": {"messages": [{"role": "user", "content": "x"}]},
        "/v1/messages": {"messages": [{"role": "user", "content": "x"}], "max_tokens": 99},
    }
    async with served(settings, keys_file=path, demo_delay_ms=50, fast_path=way) as client:
        stream_id = await begun(client, ENDLESS)
        by_another_key = asyncio.create_task(client.get(f"/v1/streams/{stream_id}?wait=1", headers=ADMIN))
        waiting = asyncio.create_task(client.get(f"/v1/streams/{stream_id}?wait=15", headers=mine))
        tails = [client.build_request("GET", f"/v1/streams/{stream_id}/events", headers=mine)]
        for url, body in posts.items():
            request = body | {"model": "demo/story", "stream": True}
            tails.append(client.build_request("POST", url, json=request, headers=mine))
        message = {"id": "m1", "role": "user", "parts": [{"type": "text", "text": "x"}]}
        chat = {"id": "c1", "messages": [message], "trigger": "submit-message", "model": "demo/story"}
        tails.append(client.build_request("POST", "/api/chat", json=chat, headers=mine))
        answers = [await client.send(request, stream=True) for request in tails]
        assert [answer.status_code for answer in answers] == [200] * len(answers)
        await revoked(path)
        async with asyncio.timeout(10):
            native, *others = [(await answer.aread()).decode() for answer in answers]
        assert native.endswith('event: parting\ndata: {"type":"parting","reason":"credential_revoked"}\n\n')
        for text in others:
            assert "The credential is over" in text
        assert (await waiting).status_code == 401
        assert (await by_another_key).json()["status"] == "running"
        refused = await client.get(f"/v1/streams/{stream_id}/events", headers=mine)
        assert refused.json()["code"] == "unauthorized"


async def closing_code(talk: Talk, received: list[dict[str, Any]]) -> int | None:
    try:
        while True:
            received.append(await talk.hear())
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


async def test_a_socket_ends_with_its_token_and_says_so_before(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ws/Renewal, Ws/Closed, Ws/Key."""
    monkeypatch.setattr(socket_credential, "NOTICE_S", 1.0)
    async with served(settings) as client:
        stream_id, other = await begun(client, SLOW), await started(client, ADMIN)

        async def token(stream: str, ttl_s: int) -> str:
            return await read_token(client, stream=stream, ttl_s=ttl_s)

        async with dial(client, additional_headers=bearer(await token(stream_id, 3))) as talk:
            await talk.hear("ready")
            await talk.say(type="tail", id=stream_id)
            assert (await talk.hear("expiring"))["in_ms"] == 1_000
            await talk.say(type="auth", key=await token(other, 60), ref=1)
            assert (await talk.hear("error"))["code"] == "other_caller"
            await talk.say(type="auth", key="admin", ref=2)
            assert (await talk.hear("error"))["code"] == "other_caller"
            await talk.say(type="auth", key="wrong", ref=3)
            assert (await talk.hear("error"))["code"] == "unauthorized"
            await talk.say(type="auth", key=await token(stream_id, 3), ref=4)
            assert (await talk.hear("ready"))["ref"] == 4
            received: list[dict[str, Any]] = []
            assert await closing_code(talk, received) == 4401
            types = [message["type"] for message in received]
            assert "expiring" in types, "the socket outlived its first token"
            *_, parting, closed, error = received
            assert parting["entries"] == [{"type": "parting", "reason": "token_expired"}]
            assert closed == {"type": "closed", "id": stream_id}
            assert error["code"] == "token_expired"


async def test_a_renewed_socket_reads_its_stream_whole(settings: Settings) -> None:
    """Ws/Renewal, I2, I5."""
    async with served(settings) as client:
        stream_id = await begun(client, SLOW)
        token = await read_token(client, stream=stream_id, ttl_s=2)
        async with dial(client, additional_headers=bearer(token)) as talk:
            await talk.say(type="tail", id=stream_id)
            await talk.say(type="auth", key=await read_token(client, stream=stream_id, ttl_s=60))
            entries = (await talk.entries(stream_id))[stream_id]
        assert [entry["offset"] for entry in entries] == [event.id for event in await log_of(client, stream_id)]
        assert entries[-1]["type"] == "end"


async def test_a_socket_without_tails_ends_when_its_key_is_revoked(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Access/Ending."""
    monkeypatch.setattr(file_watch, "LOOK_S", 0.02)
    path = tmp_path / "keys.toml"
    path.write_text(ROW.format("one", digest("one")))
    async with served(settings, keys_file=path) as client, dial(client, additional_headers=bearer("one")) as talk:
        await talk.hear("ready")
        await revoked(path)
        received: list[dict[str, Any]] = []
        assert await closing_code(talk, received) == 4401
        assert [message["code"] for message in received] == ["credential_revoked"]
