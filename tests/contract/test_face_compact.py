"""`POST /v1/responses/compact`: a conversation goes on from a summary (PROTOCOL: Responses/Compact)."""

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import httpx2
import openai
import pytest

from midstream.requests.summaries import sealed
from midstream.settings import Settings
from midstream.testing.provider.script import Script
from midstream_worker.sources.deltas import Delta, Finish, Other, Text
from tests.contract.sdk_clients import AsyncLosesAnswers, Doors, ask, doors, on_provider
from tests.provider.client import ProviderServer

Json = dict[str, Any]

SUMMARY = Script().text()  # the order to summarise is no script, and the provider then follows the default one
TALK: Any = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": [{"type": "input_text", "text": "We launch on Tuesday."}]},
    {"type": "reasoning", "id": "rs_1", "summary": []},
    {"role": "assistant", "content": "Noted: Tuesday."},
    {"type": "function_call", "call_id": "c1", "name": "notify", "arguments": '{"who":"support"}'},
    {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "done"}]},
]


async def refuses(messages: list[Json], params: Json) -> AsyncGenerator[Delta]:
    """Refuse in words."""
    del messages, params
    yield Other("data", {"kind": "refusal", "text": "I will not."})
    yield Finish("refusal")


async def runs_on(messages: list[Json], params: Json) -> AsyncGenerator[Delta]:
    """Be cut at the limit."""
    del messages, params
    yield Text("It all began when")
    yield Finish("length")


@pytest.fixture
async def served(settings: Settings, provider: ProviderServer) -> AsyncIterator[Doors]:
    apps = {name: f"{__name__}:{name}" for name in ("refuses", "runs_on")}
    async with doors(on_provider(settings, provider, apps=apps)) as served:
        yield served


@pytest.fixture
async def lenient(served: Doors) -> AsyncIterator[openai.AsyncOpenAI]:
    """A client that does not validate: the SDK's types know no user's message in an output, OpenAI's API does."""
    async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="any", max_retries=0) as client:
        yield client


def conversation_of(call: dict[str, Any]) -> list[Any]:
    """Return role and words of every message that the provider was sent."""
    messages = call["body"].get("input") or call["body"]["messages"]
    return [(message["role"], _words(message["content"])) for message in messages]


def _words(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


@pytest.mark.parametrize("model", ["gpt-test", "groq/chat-test"])
async def test_a_conversation_goes_on_from_its_summary(
    served: Doors, lenient: openai.AsyncOpenAI, provider: ProviderServer, model: str
) -> None:
    raw = await lenient.responses.with_raw_response.compact(
        model=model, input=TALK, instructions="Speak English.", prompt_cache_key="k"
    )
    compacted = raw.parse()
    assert compacted.id == f"resp_{raw.headers['stream-id']}"
    assert (compacted.object, compacted.usage.total_tokens > 0) == ("response.compaction", True)
    *kept, summary = raw.http_response.json()["output"]
    assert [(item["role"], item["content"][0]["text"]) for item in kept] == [
        ("developer", "Be brief."),
        ("user", "We launch on Tuesday."),
    ]
    assert (summary["type"], summary["encrypted_content"]) == ("compaction", sealed(SUMMARY))
    first = (await provider.calls())[0]
    assert first["body"]["prompt_cache_key"] == "k"
    roles, words = zip(*conversation_of(first), strict=True)
    assert roles[1] in ("developer", "system")  # chat servers know no developers
    assert roles[2:] == ("user", "assistant", "assistant", "assistant", "user")
    assert words[:4] == ("Speak English.", "Be brief.", "We launch on Tuesday.", "Noted: Tuesday.")
    assert "notify" in words[4]
    assert "done" in words[5]
    assert words[6].startswith("Summarise the conversation")

    onward: Any = [*kept, summary, *ask(Script(words=2))]
    answer = await served.openai.responses.create(model=model, input=onward)
    assert answer.output_text == Script(words=2).text()
    goes_on = conversation_of((await provider.calls())[1])
    assert [role for role, _ in goes_on] == [roles[1], "user", "user", "user"]
    assert goes_on[2][1] == f"Summary of the conversation so far:\n\n{SUMMARY}"


async def test_the_sdk_finds_it_valid(served: Doors, provider: ProviderServer) -> None:
    history: Any = [{"role": "assistant", "content": "Noted."}]
    compacted = await served.openai.responses.compact(model="gpt-test", input=history)
    assert [item.type for item in compacted.output] == ["compaction"]

    def blocking() -> Any:
        strict: Any = {"_strict_response_validation": True}
        with openai.OpenAI(base_url=f"{served.url}/v1", api_key="any", **strict) as client:
            made = client.responses.compact(model="anthropic/claude-test", input=history, prompt_cache_key="k")
            return client.responses.create(model="anthropic/claude-test", input=made.output)  # type: ignore[arg-type]

    answer = await asyncio.to_thread(blocking)
    assert answer.output_text == Script().text()
    sent = (await provider.calls())[-1]["body"]["messages"]
    assert [message["role"] for message in sent] == ["user"]
    assert SUMMARY in _words(sent[0]["content"])
    assert "prompt_cache_key" not in str(await provider.calls())  # Anthropic refuses what it does not know


async def test_it_takes_up_a_response_and_is_taken_up(
    served: Doors, lenient: openai.AsyncOpenAI, provider: ProviderServer
) -> None:
    responses = lenient.responses
    first = await responses.create(model="gpt-test", input=ask(Script(words=3, tool=True)), instructions="Old.")
    compacted = await responses.compact(model="gpt-test", previous_response_id=first.id)
    await responses.create(model="gpt-test", previous_response_id=compacted.id, input="And then?")
    again = await responses.with_raw_response.compact(
        model="gpt-test", previous_response_id=compacted.id, input="And now?"
    )
    *_, whole, onward, twice = [conversation_of(call) for call in await provider.calls()]
    question = ask(Script(words=3, tool=True))[0]["content"]
    assert whole[:2] == [("user", question), ("assistant", Script(words=3).text())]
    assert "Zürich" in whole[2][1]
    assert onward == [
        ("user", question),
        ("user", f"Summary of the conversation so far:\n\n{SUMMARY}"),
        ("user", "And then?"),
    ]
    assert twice[:3] == [*onward[:2], ("user", "And now?")]
    *kept, _ = again.http_response.json()["output"]
    assert [item["content"][0]["text"] for item in kept] == [question, "And now?"]  # the older summary is in the newer
    retrieved = await served.openai.responses.retrieve(compacted.id)
    assert (retrieved.status, retrieved.output_text) == ("completed", SUMMARY)
    listed = await served.openai.responses.input_items.list(again.parse().id, order="asc")
    assert [item.type for item in listed.data] == ["message", "compaction", "message"]


async def test_a_retry_is_not_paid_again(served: Doors, provider: ProviderServer) -> None:
    transport = AsyncLosesAnswers(["500"])
    async with httpx2.AsyncClient(transport=transport) as http:
        client = openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="any", max_retries=2, http_client=http)
        compacted = await client.responses.compact(model="gpt-test", input="We launch on Tuesday.")
    assert compacted.output[-1].type == "compaction"
    assert transport.sent == 2
    assert len(await provider.calls()) == 1


async def test_an_idempotency_key_makes_equal_ones_one(lenient: openai.AsyncOpenAI, provider: ProviderServer) -> None:
    key = {"Idempotency-Key": "squeeze"}
    calls = [lenient.responses.compact(model="gpt-test", input="x", extra_headers=key) for _ in range(4)]
    assert len({compacted.id for compacted in await asyncio.gather(*calls)}) == 1
    assert len(await provider.calls()) == 1


DAMAGED = sealed("a summary")


@pytest.mark.parametrize(
    "content",
    [DAMAGED[:-1], DAMAGED[:-4], DAMAGED.replace("-1.", "-2."), f"{DAMAGED}é", f"midstream-1.00000000.{'A' * 5}"],
)
@pytest.mark.parametrize("door", ["create", "compact"])
async def test_a_damaged_summary_is_told(served: Doors, provider: ProviderServer, content: str, door: str) -> None:
    item: Any = [{"type": "compaction", "encrypted_content": content}]
    with pytest.raises(openai.BadRequestError) as refused:
        await getattr(served.openai.responses, door)(model="gpt-test", input=item)
    assert (refused.value.code, refused.value.param) == ("invalid_encrypted_content", "input")
    native = await served.http.post("/v1/streams", json={"model": "demo/story", "input": item})
    assert (native.status_code, native.json()["code"]) == (400, "bad_request")
    assert await provider.requests() == []


async def test_a_summary_of_openai_goes_to_openai_alone(served: Doors, provider: ProviderServer) -> None:
    theirs: Any = {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAAAA"}
    search: Any = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}}
    await served.openai.responses.create(model="gpt-test", input=[theirs, *ask(Script())])
    await served.openai.responses.compact(model="gpt-test", input=[theirs, search])
    for call, own in zip(await provider.calls(), ([theirs], [theirs, search]), strict=True):
        assert call["body"]["input"][: len(own)] == own
    for model in ("groq/chat-test", "anthropic/claude-test", "demo/story"):
        with pytest.raises(openai.BadRequestError) as refused:
            await served.openai.responses.create(model=model, input=[theirs])
        assert (refused.value.code, refused.value.param) == ("unsupported_value", "input")
    assert len(await provider.requests()) == 2


async def test_what_cannot_be_compacted_is_told(served: Doors, provider: ProviderServer) -> None:
    compact = served.openai.responses.compact
    without: Any = {"input": "x"}
    nameless = await served.http.post("/v1/responses/compact", json=without)
    assert (nameless.status_code, nameless.json()["error"]["param"]) == (400, "model")
    with pytest.raises(openai.BadRequestError, match="previous_response_id"):
        await compact(model="gpt-test")
    with pytest.raises(openai.NotFoundError):
        await compact(model="gpt-test", previous_response_id=f"resp_{'0' * 32}")
    with pytest.raises(openai.NotFoundError):
        await compact(model="demo/nothing", input="x")
    for further in ({"context_management": [{"type": "compaction"}]}, {"input": [{"type": "compaction_trigger"}]}):
        body: Any = {"model": "gpt-test", "input": "x", **further}
        with pytest.raises(openai.BadRequestError, match="/v1/responses/compact"):
            await served.openai.responses.create(**body)
    assert await provider.requests() == []


async def test_a_failure_is_an_error_of_the_dialect(served: Doors) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await served.openai.responses.compact(model="demo/count", input="x", extra_body={"words": -1})
    assert (refused.value.code, refused.value.response.headers["x-should-retry"]) == ("provider_bad_request", "false")
    for model in ("app/refuses", "app/runs_on"):
        with pytest.raises(openai.InternalServerError) as empty:
            await served.openai.responses.compact(model=model, input="x")
        assert (empty.value.status_code, empty.value.code) == (502, "compaction_incomplete")
        failed = f"resp_{empty.value.response.headers['stream-id']}"
        with pytest.raises(openai.InternalServerError):
            await served.openai.responses.create(model="gpt-test", input="x", previous_response_id=failed)


def test_what_is_sealed_is_plain_to_its_holder() -> None:
    _, _, encoded = sealed("Zürich 😀").rpartition(".")
    assert base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode() == "Zürich 😀"
