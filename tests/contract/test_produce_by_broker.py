"""`midstream.produce` with the address of a broker: the same block, by HTTP (PROTOCOL: Produce/Broker)."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

import midstream
from midstream.settings import Settings
from tests import inside

KEY = "ms_sender_0123456789abcdef0123456789abcdef"


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with inside.broker(settings) as client:
        yield client


def produce(client: httpx2.AsyncClient, **fields: Any) -> Any:
    return midstream.produce(str(client.base_url), **fields)


async def state_of(client: httpx2.AsyncClient, stream_id: str) -> dict[str, Any]:
    state: dict[str, Any] = (await client.get(f"/v1/streams/{stream_id}", params={"wait": 5})).json()
    return state


async def test_a_block_is_a_stream(client: httpx2.AsyncClient, settings: Settings) -> None:
    """Produce/Broker."""
    async with produce(client, thread="t1", model="external/agent") as out:
        await out.reasoning("Hm.")
        await out.text("Because \ud83d")
        await out.text("\ude00")
        await out.tool_call("c1", "look", {"at": "sky"})
        await asyncio.sleep(1.5 * settings.lease_ms / 1000)  # the lease is kept meanwhile
        for number in range(1_200):  # more than one request takes
            await out.data("n", value=number)
        await out.usage(3, 5)
        out.finish("length")
    state = await state_of(client, out.id)
    assert (state["outcome"], state["finish_reason"], state["output"]["text"]) == ("completed", "length", "Because 😀")
    assert (state["usage"]["output_tokens"], state["model"], state["thread"]) == (5, "external/agent", "t1")
    page = (await client.get(f"/v1/streams/{out.id}/entries", params={"after": 5, "limit": 1000})).json()["data"]
    assert [entry["data"]["value"] for entry in page if entry["type"] == "data"][:3] == [1, 2, 3]


async def test_of_producers_with_one_key_one_appends(client: httpx2.AsyncClient) -> None:
    """Produce/Broker."""
    async with produce(client, key="k") as out:
        with pytest.raises(midstream.ProduceError, match="already_produced") as caught:
            await produce(client, key="k").__aenter__()
        assert caught.value.stream_id == out.id
    with pytest.raises(midstream.ProduceError, match="already_produced"):
        await produce(client, key="k").__aenter__()
    with pytest.raises(midstream.ProduceError, match="idempotency_mismatch"):
        await produce(client, key="k", thread="t").__aenter__()


@pytest.mark.parametrize(
    ("error", "outcome", "code"),
    [(ValueError("swordfish"), "failed", "source_error"), (KeyboardInterrupt(), "interrupted", "producer_lost")],
)
async def test_a_block_that_raises(client: httpx2.AsyncClient, error: BaseException, outcome: str, code: str) -> None:
    """Produce/Broker."""
    with pytest.raises(type(error)):  # noqa: PT012 - a block is what is tested
        async with produce(client) as out:
            await out.text("so far")
            raise error
    state = await state_of(client, out.id)
    assert (state["outcome"], state["error"]["code"], state["output"]["text"]) == (outcome, code, "so far")
    assert "swordfish" not in str(state)


async def test_a_cancel_leaves_the_block(client: httpx2.AsyncClient, settings: Settings) -> None:
    """Produce/Broker."""
    began_s = time.monotonic()
    async with produce(client) as out:
        await out.text("so far")
        await asyncio.sleep(0.05)
        await client.post(f"/v1/streams/{out.id}/cancel")
        for _ in range(1_000):
            await asyncio.sleep(0.01)
            await out.text(".")
    assert out.cancelled
    assert time.monotonic() - began_s < settings.lease_ms / 1000
    state = await state_of(client, out.id)
    assert (state["outcome"], state["error"]) == ("cancelled", None)
    assert state["output"]["text"].rstrip(".") == "so far"


async def test_a_key_needs_no_other_scope(settings: Settings, tmp_path: Path) -> None:
    """Produce/Broker, Access/Scopes."""
    path = tmp_path / "keys.toml"
    row = '[[keys]]\nname = "sender"\nsha256 = "{}"\ntenant = "acme"\nscopes = ["{}"]\n'
    path.write_text(row.format(hashlib.sha256(KEY.encode()).hexdigest(), "send"))
    async with inside.broker(settings.model_copy(update={"keys_file": path})) as client:
        async with produce(client, api_key=KEY) as out:
            await out.text("hi")
        assert (await client.get(f"/v1/streams/{out.id}")).status_code == 401
        with pytest.raises(midstream.ProduceError, match="unauthorized"):
            await produce(client, api_key="another").__aenter__()


async def test_without_a_broker_nothing_starts() -> None:
    """Produce/Broker."""
    with pytest.raises(midstream.ProduceError, match="log_unavailable"):
        await midstream.produce("http://127.0.0.1:1").__aenter__()
    with pytest.raises(ValueError, match="an API key is for the address of a broker"):
        midstream.produce("redis://127.0.0.1:1", api_key=KEY)
