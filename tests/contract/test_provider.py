"""The fake provider itself: many streams at once, honest books."""

import asyncio

import httpx2
import openai

from tests.contract.sources_support import prompt, read, source_for
from tests.provider.client import ProviderServer
from tests.provider.script import Script, directive


async def test_two_hundred_streams_at_once(provider: ProviderServer) -> None:
    script = Script(words=30, delay_ms=20)
    async with source_for(provider, "chat") as source:
        all_read = await asyncio.gather(*(read(source.open(prompt(script))) for _ in range(200)))
    assert {got.text for got in all_read} == {script.text()}
    calls = await provider.calls()
    assert len(calls) == 200
    assert {(call["connection"], call["steps_sent"]) for call in calls} == {("completed", 30)}


async def test_it_fails_as_often_as_it_is_told(provider: ProviderServer) -> None:
    body = {"model": "m", "input": directive(Script(fail="status", status=503, fail_times=2))}
    async with httpx2.AsyncClient(base_url=provider.openai_url) as client:
        statuses = [(await client.post("/responses", json=body)).status_code for _ in range(4)]
    assert statuses == [503, 503, 200, 200]
    assert [call["billed"] for call in await provider.requests()] == [False, False, True, True]


async def test_its_objects_are_those_of_the_sdk(provider: ProviderServer) -> None:
    script = Script(words=3, reasoning=1, tool=True)
    async with openai.AsyncOpenAI(
        api_key="none", base_url=provider.openai_url, _strict_response_validation=True
    ) as client:
        response = await client.responses.create(model="m", input=directive(script))
        completion = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": directive(script)}]
        )
    assert response.output_text == script.text()
    assert completion.choices[0].message.content == script.text()
