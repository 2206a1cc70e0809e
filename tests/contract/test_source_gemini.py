"""Gemini by Google's own SDK, at a provider that refuses what Google's types do not allow.

All tests of this SDK are in this file, because importing it takes longer than they do.
"""

from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from midstream.testing.provider import refused_interactions as ours
from midstream.testing.provider.script import Script
from midstream_worker.sources.deltas import Finish, Other, SourceError, Upstream, Usage
from midstream_worker.sources.source import Prompt
from tests.contract.source_reading import (
    ANTHROPIC,
    ANTHROPIC_TOOL,
    CHAT,
    CHAT_TOOL,
    KEY,
    RESPONSES,
    RESPONSES_TOOL,
    Read,
    prompt,
    read,
    source_for,
)
from tests.provider.client import ProviderServer

of_google = pytest.importorskip("google.genai.interactions", reason="midstream[gemini] is not installed")

EVERYTHING = Script(words=8, reasoning=3, tool=True, unicode=True, split=True, cite=True)
STEPS: list[dict[str, Any]] = [
    {"type": "user_input", "content": [{"type": "text", "text": "Look."}, {"type": "image", "uri": "https://x/i.png"}]},
    {"type": "function_call", "id": "c1", "name": "f", "arguments": {"a": 1}},
    {"type": "function_result", "call_id": "c1", "name": "f", "result": "sunny", "is_error": False},
    {"type": "user_input", "content": [{"type": "text", "text": "And?"}]},
]
STATUSES = [
    (400, None, "provider_bad_request", "never"),
    (400, "API_KEY_INVALID", "provider_auth", "never"),
    (403, None, "provider_auth", "never"),
    (307, None, "provider_error", "never"),
    (429, None, "provider_rate_limited", "safe"),
    (500, None, "provider_error", "ambiguous"),
    (503, None, "provider_overloaded", "safe"),
]
BREAKS = {
    "eof": "provider_incomplete",
    "reset": "provider_disconnected",
    "garbage": "provider_error",
    "error_event": "provider_overloaded",
    "failed_event": "provider_overloaded",
}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = {"poll_s": 0.02, "reattach_pauses_s": (0.01, 0.01)}
    monkeypatch.setattr("midstream_worker.sources.gemini.Gemini.__init__.__kwdefaults__", defaults)


async def sent(provider: ProviderServer, messages: list[dict[str, Any]], **params: Any) -> dict[str, Any]:
    async with source_for(provider, "gemini") as source:
        await read(source.open(Prompt("gemini-test", messages, params)))
    body: dict[str, Any] = (await provider.requests())[-1]["body"]
    return body


def test_the_fake_knows_the_fields_that_the_sdk_knows() -> None:
    shapes = [
        (ours.Body, of_google.CreateModelInteractionParam),
        (ours.GenerationConfig, of_google.GenerationConfigParam),
        (ours.FunctionTool, of_google.FunctionParam),
        (ours.UserInput, of_google.UserInputStepParam),
        (ours.ModelOutput, of_google.ModelOutputStepParam),
        (ours.Thought, of_google.ThoughtStepParam),
        (ours.FunctionCall, of_google.FunctionCallStepParam),
        (ours.FunctionResult, of_google.FunctionResultStepParam),
    ]
    for own, original in shapes:
        assert set(own.__annotations__) == set(original.__annotations__), own


async def test_everything_comes_once_and_one_call_was_paid(provider: ProviderServer) -> None:
    for dialect in ("gemini", "gemini-foreground"):
        async with source_for(provider, dialect) as source:
            got = await read(source.open(prompt(EVERYTHING)))
        assert (got.text, got.reasoning, got.arguments) == (EVERYTHING.text(), "r0 r1 r2 ", EVERYTHING.arguments())
        assert [(call.id, call.name, call.arguments) for call in got.calls] == [
            ("call_1", "get_weather", EVERYTHING.arguments())
        ]
        signed, cited = (delta for delta in got.deltas if isinstance(delta, Other))
        assert signed == Other("data", {"kind": "reasoning_signature", "signature": "signed-0"})
        assert (cited.data["url"], cited.data["title"]) == ("https://example.com/a", "A page")
        details = {"cached_tokens": 0, "reasoning_tokens": 3}
        assert got.content[-2:] == [Usage(7, 11, details), Finish("tool_calls")]
        in_background = dialect == "gemini"
        assert source.paid
        assert source.resumable == in_background
        assert {upstream.resumable for upstream in got.upstreams} == {in_background}
    background, foreground = await provider.calls()
    assert background["body"]["background"]
    assert "background" not in foreground["body"]


async def test_what_must_not_be_stored_is_not_resumable(provider: ProviderServer) -> None:
    """Intent/Gemini."""
    async with source_for(provider, "gemini") as source:
        got = await read(source.open(prompt(Script(words=2, finish="length"), store=False)))
    assert got.finish == "length"
    assert [upstream.resumable for upstream in got.upstreams] == [False]
    (call,) = await provider.calls()
    assert (call["body"]["store"], "background" in call["body"]) == (False, False)


async def test_messages_of_any_dialect_become_steps(provider: ProviderServer) -> None:
    for messages in (CHAT, RESPONSES, ANTHROPIC):
        body = await sent(provider, messages, **({"system": "Be brief."} if messages is ANTHROPIC else {}))
        assert body["input"] == STEPS
        assert body["system_instruction"] == "Be brief."


async def test_a_signed_thought_goes_back_as_it_came(provider: ProviderServer) -> None:
    thoughts: list[dict[str, Any]] = [
        {"type": "thinking", "thinking": "Hm.", "signature": "signed-0"},
        {"type": "thinking", "thinking": "", "signature": "signed-1"},
        {"type": "text", "text": "So."},
    ]
    turns: list[dict[str, Any]] = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": thoughts}]
    body = await sent(provider, [*turns, {"role": "user", "content": "And?"}])
    assert body["input"][1:4] == [
        {"type": "thought", "signature": "signed-0", "summary": [{"type": "text", "text": "Hm."}]},
        {"type": "thought", "signature": "signed-1", "summary": []},
        {"type": "model_output", "content": [{"type": "text", "text": "So."}]},
    ]


async def test_params_of_any_dialect(provider: ProviderServer) -> None:
    schema = {"type": "object", "properties": {}}
    body = await sent(
        provider,
        [{"role": "user", "content": "Hi"}],
        max_tokens=9,
        temperature=0.5,
        stop="x",
        seed=1,
        reasoning={"effort": "low", "summary": "auto"},
        tools=[CHAT_TOOL, RESPONSES_TOOL, ANTHROPIC_TOOL],
        tool_choice={"type": "function", "function": {"name": "f"}},
        response_format={"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}},
        metadata={"a": "b"},
        parallel_tool_calls=True,
        agent="deep-research",
        webhook_config={"uri": "http://inside"},
    )
    tool = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}}
    config = {"max_output_tokens": 9, "temperature": 0.5, "stop_sequences": ["x"], "seed": 1, "thinking_level": "low"}
    choice = {"allowed_tools": {"mode": "any", "tools": ["f"]}}
    assert body.pop("input")
    assert body == {
        **dict.fromkeys(("stream", "background", "store"), True),
        "model": "gemini-test",
        "tools": [tool] * 3,
        "generation_config": config | {"thinking_summaries": "auto", "tool_choice": choice},
        "response_format": {"type": "text", "mime_type": "application/json", "schema": schema},
    }


async def test_a_status_becomes_its_code_and_nothing_is_sent_twice(provider: ProviderServer) -> None:
    """Errors/Failures."""
    async with source_for(provider, "gemini") as source:
        for number, (status, named, code, retry) in enumerate(STATUSES):
            script = Script(fail="status", status=status, error_code=named, retry_after=1.5)
            with pytest.raises(SourceError) as caught:
                await read(source.open(prompt(script)))
            assert (caught.value.code, caught.value.retry) == (code, retry)
            assert str(status) in caught.value.message
            assert KEY not in caught.value.message
            assert caught.value.retry_after_s == (1.5 if status >= 400 else None)
            assert len(await provider.requests()) == number + 1


async def test_what_the_provider_does_not_know_it_refuses(provider: ProviderServer) -> None:
    async with source_for(provider, "gemini") as source:
        with pytest.raises(SourceError, match="Unknown name") as caught:
            await read(source.open(prompt(Script(), frequency_penalty=1)))
    assert (caught.value.code, caught.value.is_refusal) == ("provider_bad_request", True)
    assert await provider.calls() == []


async def test_a_broken_stream_in_the_foreground_fails_after_all_that_came(provider: ProviderServer) -> None:
    async with source_for(provider, "gemini-foreground") as source:
        for number, (fail, code) in enumerate(BREAKS.items()):
            got = Read([])
            with pytest.raises(SourceError) as caught:
                await read(source.open(prompt(Script(words=5, fail=fail, fail_at=2, error_code="unavailable"))), got)
            assert (caught.value.code, caught.value.retry, got.text) == (code, "ambiguous", "w0 w1 ")
            assert len(await provider.requests()) == number + 1


async def test_a_cut_answer_is_read_on_in_place(provider: ProviderServer) -> None:
    """Recovery/In place, Intent/Gemini. It is cut before each delta in turn."""
    cuts = ("reset", "eof", "garbage", "cut_event")
    async with source_for(provider, "gemini") as source:
        whole = await read(source.open(prompt(EVERYTHING)))
        deltas = len(whole.upstreams) - 4  # without the first ones, and the ends of steps
        for fail_at in range(deltas):
            script = replace(EVERYTHING, fail=cuts[fail_at % len(cuts)], fail_at=fail_at, fail_times=1)
            got = await read(source.open(prompt(script)))
            status = [delta.data for delta in got.deltas if isinstance(delta, Other) and delta.type == "status"]
            assert [(each["state"], each["paid"]) for each in status] == [("reattaching", False)]
            assert [each for each in got.content if each != Other("status", status[0])] == whole.content
            assert (await provider.requests())[-1]["api"] == "retrieve"


async def test_another_worker_goes_on_gaplessly_from_every_cursor(provider: ProviderServer) -> None:
    """Intent/Gemini."""
    async with source_for(provider, "gemini") as source:
        whole = await read(source.open(prompt(EVERYTHING)))
        for number, delta in enumerate(whole.deltas):
            if isinstance(delta, Upstream):
                before = Read(whole.deltas[: number + 1])
                rest = await read(source.reattach(delta.id, delta.cursor, before.text))
                assert before.content + rest.content == whole.content, f"from cursor {delta.cursor}"
        again = await read(source.reattach(whole.upstreams[0].id, None, ""))
    assert again.content == whole.content
    assert len(await provider.calls()) == 1


async def test_an_interaction_that_failed_itself_is_not_read_again(provider: ProviderServer) -> None:
    """Recovery/In place. It is looked at after an event that may have ended the connection alone."""
    async with source_for(provider, "gemini") as source:
        for fail in ("error_event", "failed_event"):
            with pytest.raises(SourceError, match="it broke, as the script says"):
                await read(source.open(prompt(Script(words=5, fail=fail, fail_at=2))))
    assert [call["api"] for call in await provider.requests()] == ["interactions", "look", "interactions"]


async def test_what_cannot_be_streamed_to_its_end_is_looked_at_until_it_ends(provider: ProviderServer) -> None:
    """Intent/Gemini: every connection is cut, or refused because the interaction is too old."""
    cut = Script(words=20, delay_ms=4, fail="reset", fail_at=2)
    old = Script(words=20, delay_ms=4, fail="reset", fail_at=2, max_age_ms=0)
    async with source_for(provider, "gemini") as source:
        for script in (cut, old):
            got = await read(source.open(prompt(script)))
            assert (got.text, got.finish, len(got.usages)) == (script.text(), "stop", 1)
    requests = [call["api"] for call in await provider.requests()]
    first_old = requests.index("interactions", 1)
    assert requests[:4] == ["interactions", "retrieve", "retrieve", "look"]
    assert requests[first_old : first_old + 3] == ["interactions", "retrieve", "look"]


@pytest.mark.parametrize(
    ("script", "delivered"), [(Script(words=3, tool=True), "w0 "), (Script(words=3), "something else")]
)
async def test_an_old_interaction_that_does_not_fit_is_a_mismatch(
    provider: ProviderServer, script: Script, delivered: str
) -> None:
    """Intent/Gemini."""
    async with source_for(provider, "gemini") as source:
        whole = await read(source.open(prompt(replace(script, max_age_ms=0))))
        with pytest.raises(SourceError) as caught:
            await read(source.reattach(whole.upstreams[0].id, len(delivered), delivered))
    assert (caught.value.code, caught.value.retry) == ("reattach_mismatch", "never")


async def test_an_interaction_that_is_gone_is_a_failure(provider: ProviderServer) -> None:
    async with source_for(provider, "gemini") as source:
        with pytest.raises(SourceError) as caught:
            await read(source.reattach("v1/gone?", 3, "w0 "))
    assert (caught.value.code, caught.value.retry) == ("provider_bad_request", "never")


async def test_a_cancelled_interaction_stops(provider: ProviderServer) -> None:
    """Cancel/Upstream."""
    async with source_for(provider, "gemini") as source:
        async with aclosing(source.open(prompt(Script(words=1_000_000, delay_ms=1)))) as deltas:
            first = await anext(deltas)
        assert isinstance(first, Upstream)
        assert (await provider.ended())["connection"] == "client_closed"
        await source.cancel(first.id)
        with pytest.raises(SourceError, match="the interaction is cancelled"):
            await read(source.reattach(first.id, None, ""))


async def test_in_the_foreground_nobody_reads_on(provider: ProviderServer) -> None:
    async with source_for(provider, "gemini-foreground") as source:
        with pytest.raises(SourceError) as caught:
            await read(source.reattach("some-id", 3, ""))
        await source.cancel("some-id")
    assert caught.value.code == "reattach_unsupported"
    assert await provider.requests() == []
