"""OpenAI's own SDK at the Responses doors (PROTOCOL: Responses/Entries)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import orjson
import pytest
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from midstream.faces.responses import ResponsesFace
from midstream.http.responses.responses_request import whole_echo
from midstream.log.entries import Entry, Stored, encode, text
from midstream.settings import Settings
from midstream.testing.provider.script import Script
from tests import sse
from tests.contract.sdk_clients import Doors, ask, doors, events, on_provider, stream_id_of
from tests.provider.client import ProviderServer

pytestmark = pytest.mark.both_ways

MODELS = ["gpt-test", "groq/chat-test", "anthropic/claude-test"]
RICH = Script(words=6, reasoning=3, tool=True, unicode=True)


@pytest.fixture
async def served(settings: Settings, provider: ProviderServer) -> AsyncIterator[Doors]:
    async with doors(on_provider(settings, provider)) as served:
        yield served


async def streamed(served: Doors, script: Script, model: str = "gpt-test", **params: Any) -> list[Any]:
    answer = await served.openai.responses.create(model=model, input=ask(script), stream=True, **params)
    return await events(answer)


def dumped(received: list[Any]) -> list[dict[str, Any]]:
    return [event.model_dump(mode="json") for event in received]


@pytest.mark.parametrize("model", MODELS)
async def test_streamed_and_whole_say_the_same(served: Doors, model: str) -> None:
    received = await streamed(served, RICH, model)
    assert [event.sequence_number for event in received] == list(range(len(received)))
    final: Response = received[-1].response
    text = "".join(event.delta for event in received if event.type == "response.output_text.delta")
    assert text == final.output_text == RICH.text()
    assert [item.type for item in final.output] == ["reasoning", "message", "function_call"]
    assert final.output[0].summary[0].text == RICH.reasoning_text()  # type: ignore[union-attr]
    assert final.output[2].arguments == RICH.arguments()  # type: ignore[union-attr]
    assert final.usage is not None
    assert (final.status, final.model, final.usage.output_tokens) == ("completed", model, 9)
    whole = await served.openai.responses.create(model=model, input=ask(RICH))
    assert whole.output_text == text
    assert [item.type for item in whole.output] == [item.type for item in final.output]
    assert await served.openai.responses.retrieve(final.id) == final


async def test_broken_at_every_event_and_resumed_is_gapless(served: Doors) -> None:
    """Responses/Sequence."""
    whole = dumped(await streamed(served, RICH))
    response_id = whole[0]["response"]["id"]
    for cut in range(len(whole)):
        rest = await served.openai.responses.retrieve(response_id, stream=True, starting_after=cut)
        assert whole[: cut + 1] + dumped(await events(rest)) == whole
    again = await served.openai.responses.retrieve(response_id, stream=True)
    assert dumped(await events(again)) == whole


async def test_cut_while_it_runs_and_resumed_it_is_the_same(served: Doors, provider: ProviderServer) -> None:
    """Responses/Sequence."""
    script = Script(words=60, delay_ms=5)
    whole: list[Any] = []
    stream = await served.openai.responses.create(model="gpt-test", input=ask(script), stream=True)
    while not whole or whole[-1].type != "response.completed":
        async for event in stream:
            whole.append(event)
            if len(whole) % 7 == 0:
                break
        await stream.close()
        stream = await served.openai.responses.retrieve(
            whole[0].response.id, stream=True, starting_after=whole[-1].sequence_number
        )
    await stream.close()
    assert [event.sequence_number for event in whole] == list(range(len(whole)))
    assert whole[-1].response.output_text == script.text()
    again = await served.openai.responses.retrieve(whole[0].response.id, stream=True)
    assert dumped(await events(again)) == dumped(whole)
    assert len(await provider.calls()) == 1


async def test_the_stream_helper_follows_a_response_by_its_id(served: Doors) -> None:
    started = await served.openai.responses.create(model="gpt-test", input=ask(RICH), background=True)
    assert (started.status, started.background) == ("queued", True)
    async with served.openai.responses.stream(response_id=started.id) as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_response()
    assert kinds[:3] == ["response.created", "response.queued", "response.in_progress"]
    assert final.output_text == RICH.text()
    async with served.openai.responses.stream(response_id=started.id, starting_after=5) as stream:
        rest = [event.sequence_number async for event in stream]
    assert rest[0] == 6


class Weather(BaseModel):
    city: str


async def test_structured_output_is_passed_on_in_the_providers_words(served: Doors, provider: ProviderServer) -> None:
    """Faces/Schemas."""
    for model in ("gpt-test", "groq/chat-test"):
        await served.openai.responses.create(
            model=model,
            input=ask(Script()),
            reasoning={"effort": "low"},
            text={"format": {"type": "json_schema", "name": "weather", "schema": Weather.model_json_schema()}},
        )
    responses, chat = (call["body"] for call in await provider.calls())
    assert responses["text"]["format"]["name"] == "weather"
    assert chat["response_format"]["json_schema"]["schema"] == Weather.model_json_schema()
    assert (responses["reasoning"]["effort"], chat["reasoning_effort"]) == ("low", "low")


@pytest.mark.parametrize("model", ["gpt-test", "groq/chat-test"])
async def test_a_refusal_is_a_part_of_its_own(served: Doors, model: str) -> None:
    script = Script(refuse=True)
    received = await streamed(served, script, model)
    assert received[-1].type == "response.completed"
    assert received[-1].response.output[-1].content[-1].refusal == script.refusal()
    assert [event.delta for event in received if event.type == "response.refusal.delta"] == [script.refusal()]


async def test_an_answer_that_is_not_whole_says_why(served: Doors) -> None:
    for finish, reason in (("length", "max_output_tokens"), ("content_filter", "content_filter")):
        received = await streamed(served, Script(words=3, finish=finish))
        assert received[-1].type == "response.incomplete"
        assert received[-1].response.incomplete_details.reason == reason
        assert received[-1].response.output[0].status == "incomplete"


async def test_a_failure_ends_in_failed_and_a_whole_answer_raises_it(served: Doors, provider: ProviderServer) -> None:
    """Responses/Entries, Faces/Whole."""
    script = Script(fail="failed_event", fail_at=3)
    received = await streamed(served, script)
    assert received[-1].type == "response.failed"
    assert received[-1].response.error.code == "server_error"
    assert received[-1].response.output[0].status == "incomplete"
    retrying = served.openai.with_options(max_retries=2)
    with pytest.raises(openai.APIStatusError) as refused:
        await retrying.responses.create(model="gpt-test", input=ask(script))
    assert refused.value.status_code == 502
    assert len(await provider.calls()) == 2  # one each: the SDK is told that trying again is of no use


async def test_cancel_ends_every_reader(served: Doors) -> None:
    script = Script(words=500, delay_ms=10)
    stream = await served.openai.responses.create(model="gpt-test", input=ask(script), stream=True, background=True)
    first = await anext(aiter(stream))
    rest = asyncio.create_task(events(stream))
    cancelled = await served.openai.responses.cancel(first.response.id)  # type: ignore[union-attr]
    assert cancelled.status == "cancelled"
    last = (await rest)[-1]
    assert (last.type, last.response.status) == ("response.failed", "cancelled")
    assert (await served.openai.responses.cancel(cancelled.id)).status == "cancelled"


async def test_a_completed_response_cannot_be_cancelled_but_deleted(served: Doors) -> None:
    """Responses/Cancel, Responses/Doors."""
    done = await served.openai.responses.create(model="gpt-test", input=ask(Script()))
    with pytest.raises(openai.BadRequestError):
        await served.openai.responses.cancel(done.id)
    await served.openai.responses.delete(done.id)
    with pytest.raises(openai.NotFoundError):
        await served.openai.responses.retrieve(done.id)


async def test_a_conversation_goes_on_from_our_own_log(served: Doors, provider: ProviderServer) -> None:
    """Responses/Previous."""
    first = await served.openai.responses.create(model="gpt-test", input=ask(RICH), instructions="Be brief.")
    result: Any = {"type": "function_call_output", "call_id": "call_1", "output": "rain"}
    second = await served.openai.responses.create(
        model="gpt-test", input=[result, *ask(Script(words=2))], previous_response_id=first.id
    )
    assert (second.output_text, second.previous_response_id) == ("w0 w1 ", first.id)
    sent = (await provider.calls())[-1]["body"]["input"]
    assert [item.get("role") or item["type"] for item in sent] == [
        *("user", "assistant", "function_call", "function_call_output", "user"),
    ]
    assert sent[1]["content"] == RICH.text()
    listed = await served.openai.responses.input_items.list(second.id, order="asc", limit=2)
    assert [item.type for item in listed.data] == ["message", "message"]
    everything = [item async for item in served.openai.responses.input_items.list(second.id, limit=2)]
    assert len(everything) == 5


async def test_what_the_sdk_gives_back_as_input_is_taken(served: Doors, provider: ProviderServer) -> None:
    first = await served.openai.responses.create(model="gpt-test", input=ask(RICH))
    history: Any = [*ask(RICH), *first.output, {"type": "function_call_output", "call_id": "call_1", "output": "rain"}]
    await served.openai.responses.create(model="gpt-test", input=[*history, *ask(Script())])
    sent = (await provider.calls())[-1]["body"]["input"]
    assert not any("id" in item for item in sent)  # our ids mean nothing to the provider


async def test_unstored_and_unfinished_responses_are_not_to_be_had(served: Doors) -> None:
    """Responses/Store, Responses/Previous."""
    unstored = await served.openai.responses.create(model="gpt-test", input=ask(Script()), store=False)
    with pytest.raises(openai.NotFoundError):
        await served.openai.responses.retrieve(unstored.id)
    with pytest.raises(openai.NotFoundError) as missing:
        await served.openai.responses.create(model="gpt-test", input="x", previous_response_id=unstored.id)
    assert missing.value.code == "previous_response_not_found"
    with pytest.raises(openai.BadRequestError):
        await served.openai.responses.create(model="gpt-test", input="x", store=False, background=True)


async def test_a_generation_is_read_on_every_other_face(served: Doors) -> None:
    """Faces/Ids."""
    native = (await served.http.post("/v1/streams", json={"model": "demo/count", "input": "x"})).json()["id"]
    received = await events(await served.openai.responses.retrieve(f"resp_{native}", stream=True))
    tailed = await sse.tail(served.http, native)
    assert received[-1].response.output_text == sse.text(tailed)
    script = Script(words=6, reasoning=3, tool=True)
    chat = await served.openai.chat.completions.create(model="groq/chat-test", messages=ask(script))
    message = await served.anthropic.messages.create(model="claude-test", max_tokens=9, messages=ask(script))
    for sdk_id in (chat.id, message.id):
        response = await served.openai.responses.retrieve(f"resp_{stream_id_of(sdk_id)}")
        assert response.output_text == script.text()
        assert sse.text(await sse.tail(served.http, stream_id_of(sdk_id))) == script.text()


def test_a_restarted_answer_closes_what_came_before() -> None:
    """Responses/Items."""
    call = {"id": "call_1", "name": "f"}
    end = {"outcome": "completed", "finish_reason": "stop", "error": None, "usage": None, "timings": {"total_ms": 5}}
    log = [
        *(Entry("start", {}), Entry("tool_input", {**call, "delta": '{"a'}), text("Hel")),
        *(Entry("reset", {"reason": "restarting"}), Entry("start", {}), text("Hello")),
        *(Entry("tool_call", {**call, "arguments": "{}"}), Entry("end", end)),
    ]
    face = ResponsesFace("0" * 32, 1_000, orjson.dumps(whole_echo({"model": "m"})).decode())
    state = face.begin()
    made: list[bytes] = []
    for offset, entry in enumerate(log, 1):
        received, state = face.events(Stored(offset, 1, encode(entry)), state)
        made += received
    response = face.resource(state)
    assert [item["status"] for item in response["output"]] == ["completed", "completed"]
    assert response["output"][0]["content"][0]["text"] == "Hello"
    assert sum(b'"status":"incomplete"' in event for event in made) == 2
    assert response["output"][1]["call_id"] != call["id"]  # the first call of that id was taken back
    helper: ResponseStreamState[None] = ResponseStreamState(input_tools=[], text_format=openai.omit)
    for event in made:
        helper.handle_event(TypeAdapter(ResponseStreamEvent).validate_json(event.partition(b"data: ")[2]))
    assert helper._completed_response is not None
    assert helper._completed_response.output_text == "Hello"


async def test_the_strict_setting_does_as_the_original(settings: Settings, provider: ProviderServer) -> None:
    """Faces/Durable, Responses/Doors."""
    script = Script(words=500, delay_ms=10)
    async with doors(on_provider(settings, provider, strict_openai=True, openai_background=False)) as served:
        stream = await served.openai.responses.create(model="gpt-test", input=ask(script), stream=True)
        first: Any = await anext(aiter(stream))
        with pytest.raises(openai.BadRequestError):
            await served.openai.responses.retrieve(first.response.id, stream=True)
        with pytest.raises(openai.BadRequestError):
            await served.openai.responses.cancel(first.response.id)
        await stream.close()
        assert (await provider.ended())["connection"] == "client_closed"
        state = await served.http.get(f"/v1/streams/{stream_id_of(first.response.id)}?wait=10")
        assert state.json()["outcome"] == "cancelled"


async def test_leaving_a_response_leaves_its_generation(served: Doors, provider: ProviderServer) -> None:
    """Faces/Durable."""
    script = Script(words=30, delay_ms=5)
    stream = await served.openai.responses.create(model="gpt-test", input=ask(script), stream=True)
    first: Any = await anext(aiter(stream))
    await stream.close()
    state = await served.http.get(f"/v1/streams/{stream_id_of(first.response.id)}?wait=10")
    assert (state.json()["outcome"], state.json()["output"]["text"]) == ("completed", script.text())
    assert len(await provider.calls()) == 1
