"""What the peers' SDKs can say, and are answered in their own words (PROTOCOL: The peers' faces)."""

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest

from midstream.settings import Settings
from midstream.testing.provider.script import Script
from tests.contract.sdk_clients import Doors, ask, doors, on_provider
from tests.provider.client import ProviderServer


@pytest.fixture
async def served(settings: Settings, provider: ProviderServer) -> AsyncIterator[Doors]:
    async with doors(on_provider(settings, provider)) as served:
        yield served


EDITS: Any = {"edits": [{"type": "clear_tool_uses_20250919"}]}


async def test_betas_reach_anthropic(served: Doors, provider: ProviderServer) -> None:
    """Faces/Betas."""
    beta = "context-management-2025-06-27"
    request: Any = {"max_tokens": 50, "messages": ask(Script()), "context_management": EDITS}
    message = await served.anthropic.beta.messages.create(model="claude-test", betas=[beta], **request)
    assert message.content[0].text == Script().text()
    (call,) = await provider.calls()
    assert (call["betas"], call["body"]["context_management"], "betas" in call["body"]) == (beta, EDITS, False)
    with pytest.raises(anthropic.BadRequestError, match="context_management: Extra inputs are not permitted"):
        await served.anthropic.beta.messages.create(model="claude-test", **request)


@pytest.mark.parametrize("model", ["openai/gpt-test", "groq/chat-test", "demo/count"])
async def test_betas_are_refused_elsewhere(served: Doors, provider: ProviderServer, model: str) -> None:
    """Faces/Betas."""
    with pytest.raises(anthropic.BadRequestError, match="'betas' is no parameter of"):
        await served.anthropic.beta.messages.create(
            model=model, max_tokens=50, messages=ask(Script()), betas=["any-beta"]
        )
    assert await provider.requests() == []


BAD_BETAS: list[Any] = [["ü"], ["a\r\nx-evil: 1"], ["\x00"], ["a b"], ["a,b"], [""], ["a" * 201], ["a"] * 51]


@pytest.mark.parametrize("betas", BAD_BETAS)
async def test_betas_that_are_no_header_are_refused(served: Doors, provider: ProviderServer, betas: Any) -> None:
    """Faces/Betas."""
    body = {"model": "claude-test", "messages": ask(Script()), "betas": betas}
    native = {"model": "anthropic/claude-test", "input": "x", "params": {"betas": betas}}
    for path, request in (
        ("/v1/messages", body | {"max_tokens": 9}),
        ("/v1/messages/count_tokens", body),
        ("/v1/streams", native),
    ):
        refused = await served.http.post(path, json=request)
        assert (refused.status_code, "betas" in refused.text) == (400, True), (path, refused.text)
    assert await provider.requests() == []


async def test_input_may_be_all_in_the_previous_response(served: Doors) -> None:
    """Responses/Previous."""
    first = await served.openai.responses.create(model="gpt-test", input=ask(Script()))
    again = await served.openai.responses.create(model="gpt-test", previous_response_id=first.id)
    assert again.status == "completed"
    with pytest.raises(openai.BadRequestError) as refused:
        await served.openai.responses.create(model="gpt-test")
    assert refused.value.param == "input"


async def test_a_model_that_can_be_run_can_be_retrieved(served: Doors) -> None:
    """Faces/Model."""
    assert (await served.openai.models.retrieve("gpt-test")).id == "gpt-test"
    assert (await served.openai.models.retrieve("groq/chat-test")).id == "groq/chat-test"
    assert (await served.anthropic.models.retrieve("claude-test")).id == "claude-test"
    with pytest.raises(openai.NotFoundError):
        await served.openai.models.retrieve("nobody/none")
    assert (await served.http.get("/v1/models/gpt-test")).status_code == 422  # no SDK, and so no peer's name


async def test_a_socket_of_responses_says_why_not(served: Doors) -> None:
    """Faces/Socket."""
    async with served.openai.responses.connect() as connection:
        event: Any = await connection.recv()
    assert (event.type, event.error.code) == ("error", "not_found")
    assert "no WebSocket here" in event.error.message
