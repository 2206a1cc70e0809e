"""An answer sent back as history is taken by every provider, by way of every door (PROTOCOL: Faces/History).

The histories hold the SDKs' own objects, as the peers' guides write them; the provider is as strict as the peers.
"""

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from midstream.settings import Settings
from midstream.testing.provider.script import Script
from tests.contract.sdk_clients import Doors, ask, doors, on_provider
from tests.provider.client import ProviderServer

Json = dict[str, Any]

MODELS = ["openai/gpt-test", "anthropic/claude-test", "groq/chat-test"]
SCHEMA: Json = {"type": "object", "properties": {"city": {"type": "string"}}}
RICH = Script(words=3, reasoning=2, tool=True)
PLAIN = Script(words=3, reasoning=2)
REFUSING = Script(refuse=True)

every_model = pytest.mark.parametrize("model", MODELS)
every_script = pytest.mark.parametrize("script", [RICH, PLAIN, REFUSING], ids=["tools", "plain", "refusal"])


@pytest.fixture
async def served(settings: Settings, provider: ProviderServer) -> AsyncIterator[Doors]:
    async with doors(on_provider(settings, provider)) as served:
        yield served


async def accepted(provider: ProviderServer, turns: int) -> list[Json]:
    """Return the bodies of all calls, none of which was refused."""
    calls = await provider.requests()
    assert [call["status"] for call in calls] == [200] * turns
    return [call["body"] for call in calls]


@every_model
@every_script
async def test_completions(served: Doors, provider: ProviderServer, model: str, script: Script) -> None:
    messages: list[Any] = ask(script)
    tool: Any = {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}
    for _ in range(3):
        completion = await served.openai.chat.completions.create(model=model, messages=messages, tools=[tool])
        answer = completion.choices[0].message
        messages.append(answer)
        messages += [{"role": "tool", "tool_call_id": it.id, "content": "sunny"} for it in answer.tool_calls or ()]
        messages += ask(script)
    bodies = await accepted(provider, 3)
    assert ("I will not" in str(bodies[-1])) == (script is REFUSING)


@every_model
async def test_streamed_completions(served: Doors, provider: ProviderServer, model: str) -> None:
    messages: list[Any] = ask(RICH)
    for _ in range(2):
        async with served.openai.chat.completions.stream(model=model, messages=messages) as stream:
            answer = (await stream.get_final_completion()).choices[0].message
        messages.append(answer)
        messages += [{"role": "tool", "tool_call_id": it.id, "content": "sunny"} for it in answer.tool_calls or ()]
        messages += ask(RICH)
    await accepted(provider, 2)


class Weather(BaseModel):
    city: str
    words: int


@every_model
async def test_parsed_completions(served: Doors, provider: ProviderServer, model: str) -> None:
    """A parsed message holds what the SDK made of it, and sends that back, too."""
    tool = openai.pydantic_function_tool(Weather, name="get_weather")
    messages: list[Any] = ask(RICH)
    for _ in range(2):
        parsed = await served.openai.chat.completions.parse(model=model, messages=messages, tools=[tool])
        answer = parsed.choices[0].message
        messages += [answer, {"role": "tool", "tool_call_id": answer.tool_calls[0].id, "content": "sunny"}, *ask(RICH)]  # type: ignore[index]
    bodies = await accepted(provider, 2)
    assert "parsed" not in str(bodies[1])


@every_model
@every_script
async def test_responses(served: Doors, provider: ProviderServer, model: str, script: Script) -> None:
    items: list[Any] = ask(script)
    tool: Any = {"type": "function", "name": "get_weather", "parameters": SCHEMA, "strict": False}
    for _ in range(3):
        response = await served.openai.responses.create(model=model, input=items, tools=[tool])
        items += response.output
        called = [item.call_id for item in response.output if item.type == "function_call"]
        items += [{"type": "function_call_output", "call_id": call_id, "output": "sunny"} for call_id in called]
        items += ask(script)
    await accepted(provider, 3)


@every_model
async def test_responses_taken_up_by_their_ids(served: Doors, provider: ProviderServer, model: str) -> None:
    response = await served.openai.responses.create(model=model, input=ask(RICH))
    result: Any = {"type": "function_call_output", "call_id": response.output[-1].call_id, "output": "sunny"}  # type: ignore[union-attr]
    again = await served.openai.responses.create(
        model=model, input=[result, *ask(PLAIN)], previous_response_id=response.id
    )
    await served.openai.responses.create(model=model, input=ask(PLAIN), previous_response_id=again.id)
    await accepted(provider, 3)


@every_model
@every_script
async def test_messages(served: Doors, provider: ProviderServer, model: str, script: Script) -> None:
    messages: list[Any] = ask(script)
    tool: Any = {"name": "get_weather", "input_schema": SCHEMA}
    for _ in range(3):
        answer = await served.anthropic.messages.create(model=model, max_tokens=99, messages=messages, tools=[tool])
        messages.append({"role": "assistant", "content": answer.content})
        called = [block.id for block in answer.content if block.type == "tool_use"]
        results = [{"type": "tool_result", "tool_use_id": call_id, "content": "sunny"} for call_id in called]
        messages.append({"role": "user", "content": [*results, {"type": "text", "text": ask(script)[0]["content"]}]})
    await accepted(provider, 3)


@every_model
async def test_a_name_is_told_to_those_who_take_one(served: Doors, provider: ProviderServer, model: str) -> None:
    answer: Any = [{**ask(PLAIN)[0], "name": "bob"}]
    await served.openai.chat.completions.create(model=model, messages=answer)
    (body,) = await accepted(provider, 1)
    assert ("bob" in str(body)) == (model == "groq/chat-test")


@every_model
async def test_a_phase_is_told_to_those_who_take_one(served: Doors, provider: ProviderServer, model: str) -> None:
    answer: Any = {"type": "message", "role": "assistant", "phase": "commentary", "content": "So far."}
    await served.openai.responses.create(model=model, input=[*ask(PLAIN), answer, *ask(PLAIN)])
    (body,) = await accepted(provider, 1)
    assert ("commentary" in str(body)) == (model == "openai/gpt-test")


@every_model
@pytest.mark.parametrize("first", MODELS)
async def test_it_goes_on_at_another_provider(served: Doors, provider: ProviderServer, first: str, model: str) -> None:
    completion = await served.openai.chat.completions.create(model=first, messages=ask(RICH))
    answer = completion.choices[0].message
    result: Any = {"role": "tool", "tool_call_id": answer.tool_calls[0].id, "content": "sunny"}  # type: ignore[index]
    messages: list[Any] = [*ask(RICH), answer, result, *ask(PLAIN)]
    await served.openai.chat.completions.create(model=model, messages=messages)
    _, body = await accepted(provider, 2)
    for thought in ("r0 ", "reasoning_content", "annotations"):
        assert thought not in str(body)


async def test_marks_for_anthropics_cache_stay_there(served: Doors, provider: ProviderServer) -> None:
    marked: Any = {"type": "text", "text": "Look.", "cache_control": {"type": "ephemeral"}}
    for model in MODELS[:2]:
        await served.anthropic.messages.create(
            model=model, max_tokens=99, system=[marked], messages=[{"role": "user", "content": [marked]}]
        )
    of_openai, of_anthropic = await accepted(provider, 2)
    assert ("ephemeral" in str(of_openai), "ephemeral" in str(of_anthropic)) == (False, True)
