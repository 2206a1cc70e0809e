"""Our reading of an SDK's stream against the SDK's own: the same events, and the same errors (PROTOCOL: Sources)."""

import random
from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from midstream.testing.provider.script import Script, directive
from midstream_worker.sources import plain_events as reading_module
from midstream_worker.sources.plain_events import TESTED, is_tested, plain_anthropic, plain_openai, reading
from tests.contract.source_reading import KEY, prompt, read, source_for
from tests.provider.client import ProviderServer

OPENAI, ANTHROPIC = openai.AsyncOpenAI(api_key=KEY), anthropic.AsyncAnthropic(api_key=KEY)
SDKS: dict[str, tuple[ModuleType, Any, Any]] = {
    "openai": (openai, OPENAI, plain_openai),
    "anthropic": (anthropic, ANTHROPIC, plain_anthropic),
}

TEXT = b'{"id": "c", "choices": [{"index": 0, "delta": {"content": "a \\ud83d\\ude00 \xc3\xa9"}}]}'
STRANGE = [
    *(
        TEXT,
        b"null",
        b"17",
        b"[1]",
        b'"text"',
        b"{}",
        b"",
        b" ",
        b"{",
        b"nonsense",
        b'{"a": NaN}',
        b'{"a": 1} {"b": 2}',
    ),
    b'{"choices": [{"delta": {"content": "\\ud83d"}}]}',
    b'{"choices": [{"delta": {"tool_calls": [{"function": {"arguments": {"n": 123456789012345678901234567890}}}]}}]}',
    b'{"error": null, "a": 1.5e300}',
    b'{"error": {"message": "broken", "type": "server_error", "code": "x"}}',
    b'{"error": "broken"}',
    b'{"a": "\xff"}',
    b'{"a":' * 3_000 + b"1" + b"}" * 3_000,
    *(b"[DONE]", b"[DONE] and more"),
]
SHAPES = [
    *(b"data: %s\n\n", b"data:%s\n\n", b"data: %s\r\n\r\n", b"data: %s\r\r", b": ping\n\ndata: %s\n\n", b"data: %s\n"),
    *(
        b"event: content_block_delta\ndata: %s\n\n",
        b"event: message_start\r\ndata: %s\r\n\r\n",
        b"event: x\ndata: %s\n\n",
    ),
    *(b"event: error\ndata: %s\n\n", b"event: ping\ndata: %s\n\n", b"event: thread.run\ndata: %s\n\n", b"data: %s"),
    *(b": ping\ndata: %s\nretry: 5\n\n", b"data: %s\ndata: 1\n\n", b"\xef\xbb\xbfdata: %s\n\n", b"more: %s\n\n\n\n"),
]


class _Pieces(httpx2.AsyncByteStream):
    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


async def _outcome(name: str, pieces: list[bytes], *, by_sdk: bool) -> list[object]:
    sdk, client, plain = SDKS[name]
    response = httpx2.Response(200, stream=_Pieces(pieces), request=httpx2.Request("POST", "http://localhost/"))
    stream = sdk.AsyncStream(cast_to=object, response=response, client=client)
    seen: list[object] = []
    try:
        async for event in aiter(stream) if by_sdk else reading(name, client, plain)(stream):
            seen.append(event)  # noqa: PERF401  what came before an error counts
    except (ValueError, RecursionError, sdk.APIError) as error:
        seen.append((type(error), getattr(error, "body", None), getattr(error, "message", None)))
    return seen


def _cut(body: bytes, chance: random.Random) -> list[list[bytes]]:
    """Return a body in one piece, in one piece for each byte, and cut anywhere."""
    places = sorted(chance.sample(range(len(body)), min(len(body), 5)))
    anywhere = [body[begin:end] for begin, end in zip([0, *places], [*places, len(body)], strict=True)]
    return [[body], [body[at : at + 1] for at in range(len(body))][:2_000], anywhere]


async def _compare(name: str, body: bytes, chance: random.Random) -> None:
    for pieces in _cut(body, chance):
        assert await _outcome(name, pieces, by_sdk=False) == await _outcome(name, pieces, by_sdk=True), pieces[:3]


@pytest.mark.parametrize("name", SDKS)
async def test_strange_events_are_read_alike(name: str) -> None:
    """Sources/Bounded, Sources/Types."""
    chance = random.Random(7)  # noqa: S311
    for shape in SHAPES:
        for data in STRANGE:
            await _compare(name, b"data: %s\n\n" % TEXT + shape % data + b"data: %s\n\n" % TEXT, chance)


SCRIPTS = [
    Script(words=8, reasoning=3, tool=True, unicode=True, split=True),
    Script(words=3, refuse=True),
    *(Script(words=4, fail=fail, fail_at=2) for fail in ("error_event", "garbage")),
]
APIS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat/completions": ("openai", {"messages": ...}),
    "responses": ("openai", {"input": ...}),
    "messages": ("anthropic", {"messages": ..., "max_tokens": 100}),
}


@pytest.mark.parametrize("api", APIS)
async def test_whole_answers_are_read_alike(provider: ProviderServer, api: str) -> None:
    """Sources/Compatible."""
    name, fields = APIS[api]
    headers = {"Authorization": f"Bearer {KEY}", "x-api-key": KEY, "anthropic-version": "2023-06-01"}
    chance = random.Random(7)  # noqa: S311
    async with httpx2.AsyncClient(base_url=provider.url, headers=headers) as http:
        for script in SCRIPTS:
            turns = [{"role": "user", "content": directive(script)}]
            body = {key: turns if value is ... else value for key, value in fields.items()}
            answer = await http.post(f"/v1/{api}", json={**body, "model": "m", "stream": True})
            assert answer.status_code == 200, answer.text
            assert b"data:" in answer.content
            await _compare(name, answer.content, chance)


@pytest.mark.parametrize("version", ["3.51.9", "4.0.0b1"])
async def test_streams_of_an_unknown_version_are_read_by_the_sdk(
    provider: ProviderServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, version: str
) -> None:
    """Sources/Compatible."""
    monkeypatch.setattr(reading_module, "version", lambda _: version)
    monkeypatch.setattr(reading_module, "plain_events", None)
    is_tested.cache_clear()
    try:
        async with source_for(provider, "chat") as source:
            assert (await read(source.open(prompt(Script(words=5))))).text == Script(words=5).text()
    finally:
        is_tested.cache_clear()
    assert f"openai {version} is installed, and fast reading was tested with openai 3.52" in caplog.text


def test_the_tested_versions_include_what_is_installed() -> None:
    """Sources/Compatible."""
    assert all(is_tested(sdk) for sdk in TESTED)
