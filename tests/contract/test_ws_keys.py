"""What a WebSocket may do before it has shown a key, and what a wrong one gets (PROTOCOL: WebSocket)."""

import asyncio

from pydantic import SecretStr
from websockets.exceptions import ConnectionClosed

from midstream.settings import Settings
from tests import inside
from tests.contract.test_ws import START, Talk, dial


async def closing_code(talk: Talk) -> int | None:
    """Return the code that a socket is closed with, whatever comes before."""
    try:
        while True:
            await talk.hear()
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


async def test_a_wrong_key_in_the_header_is_told_at_once(settings: Settings) -> None:
    closed = settings.model_copy(update={"api_keys": SecretStr("ka:alice")})
    async with inside.broker(closed) as client:
        for headers in ({"Authorization": "Bearer wrong"}, {"x-api-key": "wrong"}):
            async with dial(client, additional_headers=headers) as talk:
                assert (await talk.hear())["code"] == "unauthorized"
                assert await closing_code(talk) == 4401


async def test_who_shows_no_key_is_not_waited_for_long_nor_listened_to_at_length(settings: Settings) -> None:
    closed = settings.model_copy(update={"api_keys": SecretStr("ka:alice"), "ws_auth_s": 0.2})
    large = {**START, "model": "demo/nothing", "params": {"pad": "x" * 200_000}}
    for wire in (True, False):
        async with inside.broker(closed, wire=wire) as client:
            async with dial(client) as mute, asyncio.timeout(5):
                assert await closing_code(mute) == 4401
            async with dial(client) as wordy:
                await wordy.say(type="start", request=large)
                assert await closing_code(wordy) == 1009
            async with dial(client) as known:
                await known.say(type="auth", key="ka")
                await known.hear("ready")
                await known.say(type="start", request=large)
                assert (await known.hear("error"))["code"] == "unknown_model"
