"""What a start with `continue_thread` sends, and where it is read back (PROTOCOL: Threads/Continue, Threads/Tokens)."""

import orjson
import pytest

from midstream import Midstream
from midstream.log.entries import Json
from midstream.settings import Settings
from tests.contract.access_calls import ADMIN, served
from tests.contract.continued_starts import NEW, begin_anew, sent_by, with_apps


def jsons(messages: list[Json]) -> list[bytes]:
    return [orjson.dumps(message) for message in messages]


@pytest.fixture
def byte_encoding(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of an encoding of tiktoken whose tokens are bytes: it has no vocabulary to fetch."""
    return encoding_of(r"\w+|\W", monkeypatch)


@pytest.fixture
def blank_encoding(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of one that divides blanks as tiktoken's own do."""
    return encoding_of(r"[^\s]+|\s+(?!\S)|\s+", monkeypatch)


def encoding_of(pattern: str, monkeypatch: pytest.MonkeyPatch) -> str:
    tiktoken = pytest.importorskip("tiktoken", reason="midstream[tokens] is not installed")
    ranks = {bytes([byte]): byte for byte in range(256)}
    special = {"<|endoftext|>": 256}
    encoding = tiktoken.Encoding("bytes", pat_str=pattern, mergeable_ranks=ranks, special_tokens=special)
    monkeypatch.setitem(tiktoken.registry.ENCODINGS, "bytes", encoding)
    return "bytes"


async def test_what_was_sent_can_be_read_back_with_its_calls_and_results(settings: Settings) -> None:
    """Threads/Continue: by HTTP, by the Responses face and in Python; each call with its result."""
    async with served(with_apps(settings)) as client:
        await begin_anew(client)
        stream_id, whole = await sent_by(client, {})
        calls = [call["id"] for message in whole for call in message.get("tool_calls", ())]
        results = [message["tool_call_id"] for message in whole if message["role"] == "tool"]
        assert calls == results == ["c1", "c2"]
        assert (whole[0]["content"], whole[-1]) == ("a €", NEW)
        async with Midstream(str(client.base_url), api_key="admin") as midstream:
            assert (await midstream.state(stream_id))["messages"] == whole
        path = f"/v1/responses/resp_{stream_id}/input_items"
        items = (await client.get(path, params={"order": "asc"}, headers=ADMIN)).json()["data"]
        assert [item["call_id"] for item in items if item["type"] == "function_call"] == calls
        assert [item["call_id"] for item in items if item["type"] == "function_call_output"] == results
        texts = [part["text"] for item in items for part in item.get("content", ())]
        assert texts == [each["content"] for each in whole if each["role"] != "tool" and each["content"]]
        for trim in ({"max_messages": len(whole) - 1}, {"max_chars": sum(map(len, jsons(whole))) - 10}):
            await begin_anew(client)
            assert (await sent_by(client, trim))[1] == [NEW], trim


async def test_tokens_are_counted_by_the_encoding_of_the_settings(settings: Settings, byte_encoding: str) -> None:
    """Threads/Tokens."""
    async with served(with_apps(settings, tokenizer=byte_encoding)) as client:
        await begin_anew(client)
        _, whole = await sent_by(client, {})
        size = sum(map(len, jsons(whole)))
        for budget, expected in ((size, whole), (size - 1, [NEW])):
            await begin_anew(client)
            assert (await sent_by(client, {"max_tokens": budget}))[1] == expected, budget
        body = {"model": "app/tell", "messages": [NEW], "thread": "t", "continue_thread": True}
        refused = await client.post("/v1/streams", json=body | {"trim": {"max_tokens": 5}}, headers=ADMIN)
        assert (refused.status_code, refused.json()["code"]) == (400, "bad_request")
        assert "and 5 (`trim`" in refused.json()["detail"]
        special = {"role": "user", "content": "<|endoftext|>"}
        refused = await client.post(
            "/v1/streams", json=body | {"messages": [special], "trim": {"max_tokens": 5}}, headers=ADMIN
        )
        assert f"and {len(orjson.dumps(special))} tokens" in refused.json()["detail"], "a text as any other"


async def test_a_long_run_of_blanks_is_counted_as_any_text(settings: Settings, blank_encoding: str) -> None:
    """Threads/Tokens: by a pattern as those of tiktoken's own encodings, which a million blanks in a row make fail."""
    message = {"role": "user", "content": " " * 1_000_000 + "x"}
    ours = with_apps(settings, tokenizer=blank_encoding, thread_context_chars=2_000_000)
    async with served(ours) as client:
        body = {"model": "app/tell", "messages": [message], "thread": "t", "continue_thread": True}
        answer = await client.post("/v1/streams", json=body | {"trim": {"max_tokens": 999_999}}, headers=ADMIN)
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
        assert f"and {len(orjson.dumps(message))} tokens" in answer.json()["detail"]


@pytest.mark.parametrize("tokenizer", ["", "no_such_encoding"])
async def test_a_broker_that_counts_no_tokens_says_so(settings: Settings, tokenizer: str) -> None:
    """Threads/Tokens, Errors/Codes: and serves every other start."""
    async with served(with_apps(settings, tokenizer=tokenizer)) as client:
        body = {"model": "app/tell", "messages": [NEW], "thread": "t", "continue_thread": True}
        refused = await client.post("/v1/streams", json=body | {"trim": {"max_tokens": 500}}, headers=ADMIN)
        assert (refused.status_code, refused.json()["code"]) == (400, "no_tokenizer")
        assert (await sent_by(client, {"max_chars": 500}))[1] == [NEW]
