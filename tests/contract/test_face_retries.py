"""An SDK's own retries pay once, and every error is in its shape (PROTOCOL: Faces/Retries, Faces/Errors)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from pydantic import SecretStr

from midstream.settings import Settings
from midstream.testing.provider.script import Script
from tests import inside, leaks
from tests.contract.sdk_clients import AsyncLosesAnswers, Doors, ask, doors, events, on_provider
from tests.provider.client import ProviderServer
from tests.servers import free_port

SCRIPT = Script(words=20, delay_ms=5)


@pytest.fixture
async def served(settings: Settings, provider: ProviderServer) -> AsyncIterator[Doors]:
    async with doors(on_provider(settings, provider)) as served:
        yield served


# A streamed answer has its headers before any read time-out.
@pytest.mark.parametrize(
    ("how", "stream"),
    [(["500"], False), (["500", "500"], False), (["timeout"], False), (["500"], True), (["500", "500"], True)],
)
async def test_a_retry_joins_what_its_first_try_started(
    served: Doors, provider: ProviderServer, how: list[str], *, stream: bool
) -> None:
    transport = AsyncLosesAnswers(list(how))
    async with httpx2.AsyncClient(transport=transport) as http:
        client = openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="any", max_retries=2, http_client=http)
        answer: Any = await client.responses.create(model="gpt-test", input=ask(SCRIPT), stream=stream)
        final = (await events(answer))[-1].response if stream else answer
    assert final.output_text == SCRIPT.text()
    assert transport.sent == 1 + len(how)
    assert len(await provider.calls()) == 1


@pytest.mark.parametrize(("how", "stream"), [("500", False), ("timeout", False), ("500", True)])
async def test_retries_of_the_other_dialects_join_too(
    served: Doors, provider: ProviderServer, how: str, *, stream: bool
) -> None:
    async with httpx2.AsyncClient(transport=AsyncLosesAnswers([how])) as http:
        chat = openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="any", http_client=http)
        completion: Any = await chat.chat.completions.create(model="gpt-test", messages=ask(SCRIPT), stream=stream)
        chunks = await events(completion) if stream else []
    async with httpx2.AsyncClient(transport=AsyncLosesAnswers([how])) as http:
        messages = anthropic.AsyncAnthropic(base_url=served.url, api_key="any", http_client=http)
        message: Any = await messages.messages.create(
            model="claude-test", max_tokens=9, messages=ask(SCRIPT), stream=stream
        )
        deltas = (
            [event.delta for event in await events(message) if event.type == "content_block_delta"] if stream else []
        )
    if stream:
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == SCRIPT.text()
        assert "".join(delta.text for delta in deltas) == SCRIPT.text()
    else:
        assert completion.choices[0].message.content == message.content[0].text == SCRIPT.text()
    assert len(await provider.calls()) == 2


@pytest.mark.leaves("a refused start is on the reaper's list until its next look", keys=["ms:due"])
async def test_equal_requests_are_two_but_an_idempotency_key_makes_them_one(
    served: Doors, provider: ProviderServer
) -> None:
    create = served.openai.responses.create
    first, second = [await create(model="gpt-test", input=ask(Script())) for _ in range(2)]
    assert first.id != second.id
    key = {"Idempotency-Key": "order-66"}
    calls = [create(model="gpt-test", input=ask(Script()), extra_headers=key) for _ in range(5)]
    assert len({response.id for response in await asyncio.gather(*calls)}) == 1
    with pytest.raises(openai.BadRequestError) as other:
        await create(model="gpt-test", input="else", extra_headers=key)
    assert other.value.code == "idempotency_mismatch"
    assert len(await provider.calls()) == 3


async def test_a_retry_of_what_nobody_began_begins_it_each_for_itself(served: Doors, provider: ProviderServer) -> None:
    create = served.openai.responses.create
    retry = {"x-stainless-retry-count": "1"}
    calls = [create(model="gpt-test", input=ask(Script()), extra_headers=retry) for _ in range(5)]
    assert len({response.id for response in await asyncio.gather(*calls)}) == 5  # five samples, not one five times
    assert len(await provider.calls()) == 5


CHAT: dict[str, Any] = {"model": "demo/story", "messages": [{"role": "user", "content": "x"}]}
RESPONSE: dict[str, Any] = {"model": "demo/story", "input": "x"}
MESSAGE: dict[str, Any] = {**CHAT, "max_tokens": 9}
GOOD = {"/v1/responses": RESPONSE, "/v1/chat/completions": CHAT, "/v1/messages": MESSAGE}


@pytest.mark.parametrize("path", GOOD)
async def test_every_error_is_in_the_peers_shape(settings: Settings, redis: Any, path: str) -> None:
    """Faces/Errors, Faces/Doors, Faces/Model."""
    closed = settings.model_copy(update={"api_keys": SecretStr("ka:alice")})
    key = {"Authorization": "Bearer ka"}
    good = GOOD[path]
    async with inside.broker(closed) as http:
        answers = {
            401: await http.post(path, json=good),
            404: await http.post(path, json={**good, "model": "demo/nothing"}, headers=key),
            405: await http.put(path, headers=key),
            413: await http.post(path, json={**good, "pad": "x" * 2_000_000}, headers=key),
        }
        bad = [
            await http.post(path, content=b"{", headers={**key, "Content-Type": "application/json"}),
            await http.post(path, json={**good, "model": None}, headers=key),
            await http.post(path, json={**good, "model": "unprefixed"}, headers=key),
            await http.post(path, json={name: value for name, value in good.items() if name == "model"}, headers=key),
        ]
        lost = await http.get(f"{path}/no/such/door", headers=key)
    for status, answer in [*answers.items(), *((400, answer) for answer in bad), (404, lost)]:
        assert answer.status_code == status, answer.text
        error = answer.json()["error"]
        assert error["message"]
        assert error["type"]
        if path == "/v1/messages":
            assert answer.json()["type"] == "error"
        else:
            assert {"code", "param"} <= set(error)
    assert await leaks.keys_of_requests(redis) == [b"ms:secret"]


async def test_an_absent_and_a_foreign_response_look_the_same(settings: Settings) -> None:
    """I7, Responses/Doors."""
    closed = settings.model_copy(update={"api_keys": SecretStr("ka:alice,kb:bob")})
    async with inside.worker(closed), inside.broker(closed) as http:
        alice, bob = ({"Authorization": f"Bearer {key}"} for key in ("ka", "kb"))
        response_id = (await http.post("/v1/responses", json=RESPONSE, headers=alice)).json()["id"]
        for method, path in (("GET", ""), ("GET", "?stream=true"), ("POST", "/cancel"), ("DELETE", "")):
            seen = await http.request(method, f"/v1/responses/{response_id}{path}", headers=bob)
            absent = await http.request(method, f"/v1/responses/resp_{'0' * 32}{path}", headers=bob)
            assert (seen.status_code, seen.json()) == (absent.status_code, absent.json()) == (404, seen.json())
        joined = await http.post("/v1/responses", json=RESPONSE, headers={**bob, "x-stainless-retry-count": "1"})
        assert joined.json()["id"] != response_id


async def test_no_log_is_a_503_that_the_sdk_may_retry(settings: Settings) -> None:
    """Faces/Doors."""
    nowhere = SecretStr(f"redis://127.0.0.1:{free_port()}/0")
    async with inside.broker(settings.model_copy(update={"redis_url": nowhere})) as http:
        for path, body in GOOD.items():
            answer = await http.post(path, json=body)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert "error" in answer.json()
