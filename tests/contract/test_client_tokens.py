"""The Python client with tokens that end: it asks for the next one, and goes on (PROTOCOL: Access/Ending)."""

import asyncio
from collections.abc import Iterator

import httpx2
import pytest

from midstream.client.client import Midstream, MidstreamError
from midstream.settings import Settings
from midstream.sync import Midstream as SyncMidstream
from tests.contract.access_calls import ADMIN, read_token, served, started

SLOW = {"words": 50, "delay_ms": 100}
"""An answer of about 5 s."""


async def begun(client: httpx2.AsyncClient) -> str:
    request = {"model": "demo/count", "input": "x", "params": SLOW}
    stream_id: str = (await client.post("/v1/streams", json=request, headers=ADMIN)).json()["id"]
    return stream_id


async def test_a_tail_goes_on_with_the_tokens_of_a_function(settings: Settings) -> None:
    """Access/Ending, I2, I5."""
    async with served(settings) as client:
        stream_id = await begun(client)
        calls = 0

        async def token() -> str:
            nonlocal calls
            calls += 1
            return await read_token(client, stream=stream_id, ttl_s=2)

        async with Midstream(str(client.base_url), token=token) as midstream:
            read = [entry async for entry in midstream.tail(stream_id)]
            assert calls >= 3
            assert [entry.offset for entry in read] == list(range(1, len(read) + 1))
            assert read == list(await midstream.entries(stream_id, limit=1_000))
        text = "".join(entry.data["text"] for entry in read if entry.type == "text")
        assert text.endswith("".join(f"{number} " for number in range(1, 51)))


async def test_a_program_without_a_loop_gives_tokens_too(settings: Settings) -> None:
    """Access/Ending, I2, I5."""
    async with served(settings) as client:
        stream_id = await begun(client)
        tokens: list[str] = []

        def token() -> str:
            with httpx2.Client(base_url=client.base_url, headers=ADMIN) as backend:
                request = {"stream": stream_id, "ttl_s": 2}
                tokens.append(backend.post("/v1/tokens", json=request).json()["token"])
            return tokens[-1]

        def offsets() -> list[int]:
            with SyncMidstream(str(client.base_url), token=token) as midstream:
                return [entry.offset for entry in midstream.tail(stream_id)]

        read = await asyncio.to_thread(offsets)
        assert read == list(range(1, len(read) + 1))
        assert len(set(tokens)) >= 3


async def test_a_refused_token_is_asked_for_anew_once(settings: Settings) -> None:
    """Access/Refused."""
    async with served(settings) as client:
        stream_id = await started(client, ADMIN)
        tokens: Iterator[str] = iter(["over", "admin", "over", "still over", "never asked for"])
        async with Midstream(str(client.base_url), token=lambda: next(tokens)) as midstream:
            assert (await midstream.state(stream_id))["outcome"] == "completed"
            with pytest.raises(MidstreamError, match="unauthorized") as refused:
                [entry async for entry in midstream.tail(stream_id)]
        assert refused.value.status == 401
        assert next(tokens) == "never asked for"


async def test_a_token_that_is_no_function_ends_the_tail(settings: Settings) -> None:
    """Access/Ending."""
    async with served(settings) as client:
        stream_id = await begun(client)
        token = await read_token(client, stream=stream_id, ttl_s=2)
        async with Midstream(str(client.base_url), token=token) as midstream:
            with pytest.raises(MidstreamError, match="token_expired"):
                [entry async for entry in midstream.tail(stream_id)]


async def test_what_the_function_raises_ends_the_tail(settings: Settings) -> None:
    def logged_out() -> str:
        raise PermissionError("logged out")

    async with served(settings) as client, Midstream(str(client.base_url), token=logged_out) as midstream:
        with pytest.raises(PermissionError, match="logged out"):
            [entry async for entry in midstream.tail("0" * 32)]
