"""No request ends in 5xx, whatever is in it (PROTOCOL: Errors/Codes, Http/Body): hand-made ones, at every door."""

import asyncio
import random
from collections.abc import Iterator
from typing import Any, Final

import httpx2
import orjson

from midstream.settings import Settings
from tests import inside

MESSAGES: Final = [{"role": "user", "content": "x"}]
UI_MESSAGES: Final = [{"id": "m", "role": "user", "parts": [{"type": "text", "text": "x"}]}]
COMMON: Final = ("metadata", "tools", "tool_choice", "stream", "stream_options", "store", "temperature", "unknown")
DOORS: Final[dict[str, tuple[dict[str, Any], tuple[str, ...]]]] = {
    "/v1/streams": (
        {"model": "demo/count", "input": "x"},
        ("input", "messages", "params", "chunking", "thread", "ttl_s", "retry", "metadata", "stream", "model"),
    ),
    "/api/chat": (
        {"model": "demo/count", "id": "c", "messages": UI_MESSAGES},
        ("id", "messages", "messageId", "trigger", "system", "params", "chunking", "ttl_s", "model"),
    ),
    "/v1/responses": (
        {"model": "demo/count", "input": "x"},
        ("input", "instructions", "previous_response_id", "include", "text", "reasoning", "background", *COMMON),
    ),
    "/v1/responses/compact": (
        {"model": "demo/count", "input": "x"},
        ("input", "instructions", "previous_response_id", "text", "reasoning", *COMMON),
    ),
    "/v1/chat/completions": (
        {"model": "demo/count", "messages": MESSAGES},
        ("messages", "n", "modalities", "logprobs", "functions", "audio", "model", *COMMON),
    ),
    "/v1/messages": (
        {"model": "demo/count", "messages": MESSAGES, "max_tokens": 9},
        ("messages", "max_tokens", "system", "thinking", "model", *COMMON),
    ),
}
VALUES: Final[list[bytes]] = [
    *(b"null", b"true", b"-1", b"0", b"1e308", b"1e999", b"NaN", b"18446744073709551615", b"18446744073709551616"),
    *(b"-9223372036854775809", b"1" * 5_000, b'""', b'"\\u0000"', b'"\\ud800"', b'"\\udc00\\ud800"', b'"\xff"', b"[]"),
    *(b"{}", b"[null]", b"[[]]", b"[{}]", b'{"":""}', b'{"a":1,"a":2}', b'"' + b"x" * 20_000 + b'"', b"}", b""),
    *(b"[" * depth + b"]" * depth for depth in (60, 64, 70, 200, 253, 5_000)),
    *(b'{"a":' * depth + b"1" + b"}" * depth for depth in (60, 70, 210, 1_200)),
    b'[{"role":"user","content":[{"type":"text"}]}]',
    b'[{"role":["user"],"content":{"a":1}}]',
    b'[{"role":"user","parts":[{"type":"tool-x","toolCallId":"c","state":"output-available","output":NaN}]}]',
    b'[{"role":"assistant","parts":[{"type":"tool-x","toolCallId":"c","state":"output-error","input":"\\ud800"}]}]',
    b'[{"type":"compaction","encrypted_content":5}]',
    b'[{"type":"compaction","encrypted_content":"midstream-1.00000000.AAAA"}]',
    b'[{"type":"function","name":{"a":1},"parameters":7}]',
    b'[{"type":["function"],"function":null}]',
    b'[{"type":{"a":1}}]',
]
DIGITS: Final = "9" * 5_000
HEADERS: Final = (
    {"x-stainless-retry-count": DIGITS},
    {"x-stainless-retry-count": "-1"},
    {"AI-SDK-Major": DIGITS},
    {"Idempotency-Key": DIGITS},
    {"Idempotency-Key": "\xff\x80"},
    {"Authorization": "Bearer \xff"},
    {"x-api-key": DIGITS},
    {"Last-Event-ID": DIGITS},
)
GETS: Final = (
    *(f"/v1/streams?cursor={cursor}" for cursor in (f"{DIGITS}-x", "99999999999999999999-x", "-", "1e5-x", "%ff-%ff")),
    *(f"/v1/streams?limit={limit}" for limit in (DIGITS, "-1", "1e3", "99999999999999999999", "\xb2")),
    *(f"/v1/streams/%ed%a0%80/events?after={after}" for after in (DIGITS, "-1", "\xb2")),
    *(f"/v1/streams/x?wait={wait}" for wait in (DIGITS, "nan", "inf", "-1", "1e999")),
    *(f"/v1/streams/x/entries?after={DIGITS}&limit={DIGITS}", "/v1/streams/" + "x" * 5_000),
    *(f"/v1/responses/resp_x?starting_after={DIGITS}&stream=true", f"/v1/responses/resp_x/input_items?limit={DIGITS}"),
    *("/v1/models/%00", "/v1/models/" + "x" * 5_000, "/api/chat/%00/stream", "/midstream/%00.js", "/page/%00"),
)


def bodies() -> Iterator[tuple[str, bytes, dict[str, str]]]:
    """Yield path, body and headers of each request."""
    for path, (good, fields) in DOORS.items():
        for field in fields:
            whole = {name: value for name, value in good.items() if name != field}
            for value in VALUES:
                yield path, b'{"%b":%b,%b' % (field.encode(), value, orjson.dumps(whole)[1:]), {}
        for headers in HEADERS:
            yield path, orjson.dumps(good), headers
        for value in VALUES:
            yield path, value, {}


async def test_no_request_ends_in_5xx(settings: Settings) -> None:
    """A seeded choice of some thousands; a failure of the generation itself is the source's, and said to be.

    Http/Request ids.
    """
    chosen = random.Random(11).sample(list(bodies()), 600)  # noqa: S311
    wrong: list[tuple[Any, ...]] = []
    at_once = asyncio.Semaphore(10)
    async with inside.worker(settings), inside.broker(settings) as client:

        async def send(method: str, path: str, body: bytes, headers: dict[str, str]) -> None:
            raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
            async with at_once:
                answer = await client.request(
                    method, path, content=body, headers=[(b"content-type", b"application/json"), *raw]
                )
            generated = "stream-id" in answer.headers
            if answer.status_code >= 500 and not generated:
                wrong.append((path, body[:120], headers, answer.status_code, answer.text[:200]))

        await asyncio.gather(*(send("POST", *request) for request in chosen))
        await asyncio.gather(*(send("GET", path, b"", headers) for path in GETS for headers in ({}, HEADERS[-1])))
        rows = (await client.get("/v1/streams?limit=1000&status=running")).json()["data"]
        for row in rows:
            await client.post(f"/v1/streams/{row['id']}/cancel")
            await client.get(f"/v1/streams/{row['id']}?wait=10")
    assert not wrong, "\n".join(map(repr, wrong))


async def test_every_answer_names_its_request(settings: Settings) -> None:
    """Http/Request ids."""
    async with inside.broker(settings) as client:
        answers: list[httpx2.Response] = [
            await client.get("/healthz"),
            await client.get("/v1/nothing"),
            await client.get("/v1/streams/x/events"),
            await client.post("/v1/messages", json={}),
            await client.post("/v1/streams", content=b"x", headers={"Content-Type": "text/plain"}),
            await client.post("/v1/streams", content=b"{", headers={"Content-Type": "application/json"}),
        ]
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert ids == [answer.headers["request-id"] for answer in answers]
    assert len(set(ids)) == len(ids)
    assert answers[3].json()["request_id"] == ids[3]


async def test_the_ai_sdks_errors_are_plain_sentences_that_say_why(settings: Settings) -> None:
    json = {"Content-Type": "application/json"}
    async with inside.broker(settings) as client:
        refused = {
            415: await client.post("/api/chat", content=b"x", headers={"Content-Type": "text/plain"}),
            413: await client.post("/api/chat", content=b" " * 2_000_000, headers=json),
            400: await client.post("/api/chat", json={"id": "c", "messages": []}),
        }
    codes = {415: "unsupported_media_type", 413: "body_too_large", 400: "bad_request"}
    for status, answer in refused.items():
        assert answer.status_code == status
        assert answer.headers["content-type"].startswith("text/plain")
        assert answer.headers["error-code"] == codes[status]
    assert "messages" in refused[400].text
    assert "`errors`" not in refused[400].text
