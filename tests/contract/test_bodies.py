"""What is read of a body, and what is refused at the border (PROTOCOL: Errors/Codes, Http/Body)."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Any

import httpx2
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from midstream.http.body_limit import BodyLimit
from midstream.http.json_route import read_json
from midstream.http.problems import Problem
from midstream.settings import Settings
from tests import inside, leaks
from tests.contract.content_doors import DOORS, JSON
from tests.contract.ws_talk import dial


def nested(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


def code_of(answer: httpx2.Response) -> str | None:
    """Return an error's code, wherever the door's dialect puts it; Anthropic's has no place for one."""
    if answer.headers["content-type"].startswith("text/plain"):
        return answer.headers["error-code"]
    document = answer.json()
    code: str | None = document["error"].get("code") if "error" in document else document["code"]
    return code


@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize("levels", [62, 200, 250, 5_000])
async def test_a_body_too_deep_for_its_readers_is_refused_at_every_door(
    settings: Settings, redis: Any, path: str, levels: int
) -> None:
    async with inside.broker(settings) as client:
        answer = await client.post(path, content=DOORS[path] % nested(levels + 2), headers=JSON)
    assert answer.status_code == 400, answer.text
    assert code_of(answer) in ("body_too_deep", None)
    assert "64 levels" in answer.text
    assert await leaks.keys_of_requests(redis) == []


@pytest.mark.parametrize(
    "unit",
    [b"[" * 64 + b"]" * 64, b'"', b'"ab', b'"a":{},', b"[" * 16_777_216 + b"]" * 16_777_216],
    ids=["branches", "quotes", "strings", "objects", "one branch"],
)
def test_a_hostile_body_is_refused_before_it_costs_much(unit: bytes) -> None:
    """Else one body without a key stalls the loop for everybody, until the watchdog ends the process (Body)."""
    body = unit * (33_554_432 // len(unit))
    began_s = time.thread_time()
    with pytest.raises(Problem) as refused:
        read_json(body, max_depth=64)
    assert refused.value.code == "body_too_large"
    assert time.thread_time() - began_s < 1


@pytest.mark.parametrize("path", ["/v1/streams", "/v1/chat/completions", "/api/chat"])
async def test_a_body_of_which_nothing_fits_gets_a_short_answer(settings: Settings, path: str) -> None:
    """Each item may have an error of its own, of a hundred bytes for two (PROTOCOL: Errors)."""
    body = b'{"id": "c", "model": "demo/story", "messages": [%b1]}' % (b"1," * 10_000)
    async with inside.broker(settings) as client:
        answer = await client.post(path, content=body, headers=JSON)
    assert answer.status_code == 400
    assert len(answer.content) < 10_000


async def test_what_is_as_deep_as_is_allowed_is_run(settings: Settings) -> None:
    async with inside.worker(settings), inside.broker(settings) as client:
        answer = await client.post("/v1/streams", content=DOORS["/v1/streams"] % nested(63), headers=JSON)
        state = (await client.get(f"/v1/streams/{answer.json()['id']}?wait=10")).json()
    assert (state["outcome"], state["epoch"]) == ("completed", 1)


async def test_a_message_too_deep_is_refused_and_the_socket_goes_on(settings: Settings) -> None:
    async with inside.broker(settings) as client, dial(client) as talk:
        await talk.hear("ready")
        start = b'{"type": "start", "request": ' + DOORS["/v1/streams"] % nested(70) + b"}"
        await talk.socket.send(start.decode())
        assert (await talk.hear("error"))["code"] == "body_too_deep"
        await talk.socket.send('{"type": "ping", "ref": 99999999999999999999}')
        assert (await talk.hear("error"))["code"] == "bad_message"
        await talk.say(type="ping")
        await talk.hear("pong")


@pytest.mark.parametrize("inside_params", [b"18446744073709551616", b"1e999", b"NaN", b'"\\ud800"', b"1" * 5_000])
@pytest.mark.parametrize("path", DOORS)
async def test_what_cannot_be_stored_is_refused_and_the_reason_said(
    settings: Settings, redis: Any, path: str, inside_params: bytes
) -> None:
    async with inside.broker(settings) as client:
        answer = await client.post(path, content=DOORS[path] % inside_params, headers=JSON)
    assert (answer.status_code, code_of(answer) or "bad_request") == (400, "bad_request"), answer.text
    if path == "/v1/streams":
        assert answer.json()["errors"][0]["at"] == "body"
    assert await leaks.keys_of_requests(redis) == []


async def test_a_body_of_very_many_values_is_not_even_read(settings: Settings) -> None:
    async with inside.broker(settings) as client:
        body = DOORS["/v1/streams"] % (b"[" + b"0," * 500_000 + b"0]")
        answer = await client.post("/v1/streams", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_the_default_takes_images_and_long_contexts(settings: Settings) -> None:
    roomy = settings.model_copy(update={"max_body_bytes": Settings().max_body_bytes})
    image = b'{"image": "data:image/png;base64,' + b"A" * 20_000_000 + b'"}'
    async with inside.worker(roomy), inside.broker(roomy) as client:
        answer = await client.post("/v1/streams", content=DOORS["/v1/streams"] % image, headers=JSON)
        assert answer.status_code == 201, answer.text
        state = (await client.get(f"/v1/streams/{answer.json()['id']}?wait=10")).json()
    assert state["outcome"] == "completed"


async def test_a_request_without_content_may_be_small_only(settings: Settings) -> None:
    async with inside.broker(settings) as client:
        answer = await client.post("/v1/streams/x/cancel", content=b" " * 70_000, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_all_bodies_together_are_bounded(settings: Settings) -> None:
    """Driven as a server does, for only so is it known which body has come so far when the next one does."""
    answered = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
        await receive()
        await answered.wait()

    async def body() -> Message:
        return {"type": "http.request", "body": b"x" * 1_000, "more_body": False}

    async def nowhere(message: Message) -> None:
        pass

    def request(app: ASGIApp) -> Awaitable[None]:
        return app({"type": "http", "method": "POST", "path": "/v1/streams", "headers": []}, body, nowhere)

    limited = BodyLimit(app, settings.model_copy(update={"max_body_bytes": 1_500, "max_bodies_bytes": 1_500}))
    first = asyncio.ensure_future(request(limited))
    await asyncio.sleep(0)
    with pytest.raises(Problem) as refused:
        await request(limited)
    assert (refused.value.status_code, refused.value.code, refused.value.headers["Retry-After"]) == (503, "busy", "1")  # type: ignore[index]
    answered.set()
    await first
    await request(limited)
