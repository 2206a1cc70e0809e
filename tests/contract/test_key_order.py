"""The keys of a request reach the provider in the order in which they were sent (PROTOCOL: Create/Ordered)."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from midstream.settings import Settings
from tests.contract.sdk_clients import Doors, doors, on_provider
from tests.provider.client import ProviderServer

Json = dict[str, Any]

# Their order is the order of thought: the alphabet would have the answer written first.
FIELDS = {"reasoning": {"type": "string"}, "answer": {"type": "string"}}
SCHEMA: Json = {"type": "object", "properties": FIELDS, "required": list(FIELDS), "additionalProperties": False}
FORM: Json = {"name": "thought", "schema": SCHEMA}
MESSAGES: Json = {"messages": [{"role": "user", "content": "x"}]}

BODIES: dict[str, Json] = {
    "/v1/responses": {"input": "x", "text": {"format": {"type": "json_schema", **FORM}}},
    "/v1/chat/completions": MESSAGES | {"response_format": {"type": "json_schema", "json_schema": FORM}},
    "/v1/messages": MESSAGES
    | {"max_tokens": 9, "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    "/v1/streams": MESSAGES | {"params": {"response_format": {"type": "json_schema", "json_schema": FORM}}},
}


@pytest.fixture
async def served(settings: Settings, provider: ProviderServer) -> AsyncIterator[Doors]:
    async with doors(on_provider(settings, provider)) as served:
        yield served


def orders(value: Any) -> Iterator[list[str]]:
    """Yield the names of all `properties`, wherever they are."""
    if isinstance(value, dict):
        if "properties" in value:
            yield list(value["properties"])
        for inner in value.values():
            yield from orders(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from orders(inner)


@pytest.mark.parametrize("model", ["openai/gpt-test", "anthropic/claude-test", "groq/chat-test"])
@pytest.mark.parametrize("door", BODIES)
async def test_a_schema_keeps_its_order(served: Doors, provider: ProviderServer, door: str, model: str) -> None:
    answer = await served.http.post(door, json={"model": model, **BODIES[door]})
    assert answer.is_success
    await served.http.get(f"/v1/streams/{answer.headers['stream-id']}", params={"wait": 10})
    (call,) = await provider.calls()
    assert list(orders(call["body"])) == [list(FIELDS)]
    if door == "/v1/responses":  # which repeats what it was asked
        assert list(orders(answer.json())) == [list(FIELDS)]


@pytest.mark.parametrize(("door", "prompt"), [("/v1/streams", {"input": "x"}), ("/v1/responses", {"input": "x"})])
async def test_another_order_is_the_same_request(served: Doors, door: str, prompt: Json) -> None:
    first = {"model": "demo/count", "metadata": {"a": "1", "b": "2"}, **prompt}
    again = {**prompt, "metadata": {"b": "2", "a": "1"}, "model": "demo/count"}
    answers = [await served.http.post(door, json=it, headers={"Idempotency-Key": "one"}) for it in (first, again)]
    assert [answer.is_success for answer in answers] == [True, True]
    (stream_id,) = {answer.headers["stream-id"] for answer in answers}
    await served.http.get(f"/v1/streams/{stream_id}", params={"wait": 10})
