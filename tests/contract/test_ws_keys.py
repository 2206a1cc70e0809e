"""What a WebSocket may do before it has shown a key, and what a wrong one gets (PROTOCOL: WebSocket)."""

import asyncio

import pytest
from pydantic import SecretStr
from websockets.exceptions import ConnectionClosed

from midstream.settings import Settings
from tests import inside
from tests.contract.ws_talk import START, Talk, dial


async def closing_code(talk: Talk) -> int | None:
    """Return the code that a socket is closed with, whatever comes before."""
    try:
        while True:
            await talk.hear()
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


async def test_a_wrong_key_in_the_header_is_told_at_once(settings: Settings) -> None:
    """Ws/Key."""
    closed = settings.model_copy(update={"api_keys": SecretStr("ka:alice")})
    async with inside.broker(closed) as client:
        for headers in ({"Authorization": "Bearer wrong"}, {"x-api-key": "wrong"}):
            async with dial(client, additional_headers=headers) as talk:
                assert (await talk.hear())["code"] == "unauthorized"
                assert await closing_code(talk) == 4401


async def test_who_shows_no_key_is_not_waited_for_long_nor_listened_to_at_length(settings: Settings) -> None:
    """Ws/Key."""
    closed = settings.model_copy(update={"api_keys": SecretStr("ka:alice"), "ws_auth_s": 0.2})
    large = {**START, "model": "demo/nothing", "params": {"pad": "x" * 200_000}}
    for way in ("auto", "off"):
        async with inside.broker(closed.model_copy(update={"fast_path": way})) as client:
            async with dial(client) as mute, asyncio.timeout(5):
                assert await closing_code(mute) == 4401
            async with dial(client) as wordy:
                await wordy.say(type="start", request=large)
                assert await closing_code(wordy) == 1009
            async with dial(client) as socket:
                await socket.say(type="auth", key="ka")
                await socket.hear("ready")
                await socket.say(type="start", request=large)
                assert (await socket.hear("error"))["code"] == "unknown_model"


async def test_a_key_comes_as_a_header_or_first_message_and_tenants_are_apart(settings: Settings) -> None:
    """Ws/Key."""
    closed = settings.model_copy(update={"api_keys": SecretStr("ka:alice,kb:bob")})
    async with inside.worker(closed), inside.broker(closed) as client:
        headers = {"Authorization": "Bearer ka"}
        async with dial(client, additional_headers=headers) as alice, dial(client, origin="http://evil.example") as bob:
            assert (await alice.hear())["type"] == "ready"
            await alice.say(type="start", request=START)
            stream_id = (await alice.hear("started"))["id"]
            await alice.entries(stream_id)
            await bob.say(type="auth", key="kb")
            assert (await bob.hear())["type"] == "ready"
            await bob.say(type="tail", id=stream_id)
            assert (await bob.hear())["code"] == "stream_not_found"
        for first in ({"type": "auth", "key": "wrong"}, {"type": "ping"}):
            async with dial(client) as talk:
                await talk.say(**first)
                assert (await talk.hear())["code"] == "unauthorized"
                with pytest.raises(ConnectionClosed) as refused:
                    await talk.hear()
                assert refused.value.rcvd is not None
                assert refused.value.rcvd.code == 4401


async def test_in_open_mode_a_page_of_another_origin_is_turned_away(settings: Settings) -> None:
    """Ws/Key."""
    async with inside.broker(settings) as client:
        own = f"http://{client.base_url.host}:{client.base_url.port}"
        async with dial(client, origin=own) as talk:
            assert (await talk.hear())["type"] == "ready"
        async with dial(client, origin="http://evil.example") as talk:
            with pytest.raises(ConnectionClosed) as refused:
                await talk.hear()
        assert refused.value.rcvd is not None
        assert refused.value.rcvd.code == 4403
