"""Every route of the OpenAPI document and every verb of the WebSocket, as somebody to whom a stream does not belong.

The document and the socket's schema say what there is; a route or a verb without a row in the tables fails
(Access/Every route).
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
from pydantic import SecretStr

from midstream.access.api_keys import digest
from midstream.access.grant import TENANT_SCOPES
from midstream.http.app import create_app
from midstream.http.body_limit import CONTENT_PATHS
from midstream.http.socket.ws_messages import MESSAGES
from midstream.settings import Settings
from tests import inside
from tests.contract.route_table import ASK, CHAT, OPERATE, READ, ROUTES, SEND, START, STOP, Row
from tests.contract.ws_talk import dial

ABSENT = "0" * 32
LONG = {"words": 1_000, "delay_ms": 1_000}
KEY = {"Idempotency-Key": "the same"}
_REQUEST_ID = re.compile("req_[0-9a-f]{24}")
OWN_HEADERS = ("date", "set-cookie", "x-request-id", "request-id")
"""Headers that differ between any two answers."""


SOCKET = ("get", "/v1/ws")
PRODUCER = {"id": "{stream}", "epoch": 1, "owner": "0123456789abcdef"}
VERBS: dict[str, dict[str, Any] | None] = {
    "auth": None,  # carries a credential itself; tests/contract/test_access.py
    "ping": {},
    "start": {"request": ASK, "idempotency_key": "the same", "tail": False},
    "tail": {"id": "{stream}"},
    "leave": {"id": "{stream}"},
    "tail_thread": {"thread": "chat-{stream}"},
    "leave_thread": {"thread": "chat-{stream}"},
    "cancel": {"id": "{stream}"},
    "produce": {"idempotency_key": "also the same", "owner": "0123456789abcdef"},
    "append": PRODUCER | {"tail": 1, "entries": [{"type": "text", "text": "hi"}]},
    "lease": PRODUCER,
    "seal": PRODUCER | {"tail": 1},
}
NEEDS = (
    *(("start", START), ("tail", READ), ("tail_thread", READ), ("cancel", STOP)),
    *((verb, SEND) for verb in ("produce", "append", "lease", "seal")),
)
BEGIN = ("start", "produce")
"""Verbs that begin a stream, which is then the sender's own."""
STRANGERS = (
    *("another tenant", "another user", "another user's page"),
    *("a read token of another stream", "a read token of another thread"),
)


@dataclass
class Stage:
    """A broker with a stream of Ada's that runs, and keys of everybody else.

    Attributes:
        stream_id: Ada's stream; her chat has it in its name.
        of_chat: The stream that her chat is at, and which runs as well.
        others: What each stranger sends.
    """

    client: httpx2.AsyncClient
    stream_id: str
    of_chat: str
    others: dict[str, str]

    async def ask(self, row: Row, route: tuple[str, str], stream_id: str, key: str, **headers: str) -> httpx2.Response:
        request = row.sent(*route, stream_id)
        request["headers"] |= credential(key) | headers
        return await self.client.request(**request)

    async def assert_untouched(self) -> None:
        """Ada's streams run, and nobody has begun another one in her name."""
        listed = (await self.ask(Row(), ("get", "/v1/streams"), "", "ada")).json()["data"]
        assert {each["id"] for each in listed if each["status"] != "ended"} == {self.stream_id, self.of_chat}
        assert len(listed) == 3


@pytest.fixture
async def stage(settings: Settings, tmp_path: Path) -> AsyncIterator[Stage]:
    path = tmp_path / "keys.toml"
    rows = [_row("ada", "acme", "ada"), _row("bob", "acme", "bob"), _row("eve", "other", None)]
    rows.append(_row("late", "acme", "ada", "expires = 2020-01-01T00:00:00Z"))
    for scope in (START, READ, STOP, SEND, OPERATE):
        left = sorted(TENANT_SCOPES - {scope})
        rows.append(_row(f"no-{scope}", "acme", "ada", f"scopes = {orjson.dumps(left).decode()}"))
    path.write_text("".join(rows))
    closed = settings.model_copy(
        update={"keys_file": path, "openai_api_key": SecretStr("sk-x"), "openai_base_url": "http://127.0.0.1:1/v1"}
    )
    async with inside.worker(closed), inside.broker(closed) as client:
        ada = {"Authorization": "Bearer ada"}
        started = await client.post("/v1/streams", json=ASK | {"params": LONG}, headers=ada)
        stream_id: str = started.json()["id"]
        chat = CHAT | {"id": f"chat-{stream_id}", "model": "demo/count", "params": LONG}
        async with client.stream("POST", "/api/chat", json=chat, headers=ada) as answer:
            of_chat = answer.headers["stream-id"]
        short = (await client.post("/v1/streams", json=ASK, headers=ada | KEY)).json()["id"]
        await client.get(f"/v1/streams/{short}?wait=10", headers=ada)
        tokens = {
            name: (await client.post("/v1/tokens", json=body | {"scopes": ["read", "stop"]}, headers=ada)).json()
            for name, body in (("stream", {"stream": short}), ("thread", {"thread": "another"}))
        }
        page = (await client.post("/v1/session", headers=credential("bob"))).headers["set-cookie"].partition(";")[0]
        client.cookies.clear()
        others = ("eve", "bob", page, tokens["stream"]["token"], tokens["thread"]["token"])
        yield Stage(client, stream_id, of_chat, dict(zip(STRANGERS, others, strict=True)))
        for each in (stream_id, of_chat):
            await client.post(f"/v1/streams/{each}/cancel", headers=ada)


def credential(key: str) -> dict[str, str]:
    """Return the headers that carry a key, a token or a page's cookie."""
    if key.startswith("midstream="):
        return {"Cookie": key, "Sec-Fetch-Site": "same-origin"}
    return {"Authorization": f"Bearer {key}"}


def _row(name: str, tenant: str, user: str | None, more: str = "") -> str:
    whose = f'user = "{user}"\n' if user else ""
    return f'[[keys]]\nname = "{name}"\nsha256 = "{digest(name)}"\ntenant = "{tenant}"\n{whose}{more}\n'


def seen(answer: httpx2.Response, stream_id: str) -> tuple[int, dict[str, str], str]:
    """Return all that a stranger sees of an answer, without the id that was asked for."""
    headers = {name: value for name, value in answer.headers.items() if name not in OWN_HEADERS}
    text = _REQUEST_ID.sub("req_", answer.text)  # Anthropic's errors hold it
    return answer.status_code, headers, text.replace(stream_id, "{stream}").replace(ABSENT, "{stream}")


def test_every_route_and_every_verb_has_a_row(settings: Settings) -> None:
    """Access/Every route."""
    document = create_app(settings).openapi()
    routes = {(method, path) for path, methods in document["paths"].items() for method in methods}
    assert routes == {*ROUTES, SOCKET}
    assert MESSAGES.json_schema()["discriminator"]["mapping"].keys() == VERBS.keys()


def test_every_route_for_operators_needs_their_scope() -> None:
    """Operate/Scope."""
    assert [route for route, row in ROUTES.items() if (OPERATE in row.needs) != ("/v1/operate/" in route[1])] == []


def test_every_route_that_takes_a_conversation_may_be_sent_a_large_body() -> None:
    """Http/Body."""
    bodies = {path: row.body for (method, path), row in ROUTES.items() if method == "post" and row.body is not None}
    assert {path for path, body in bodies.items() if body.keys() & {"input", "messages"}} == CONTENT_PATHS


@pytest.mark.parametrize("stranger", STRANGERS)
async def test_a_foreign_stream_is_an_absent_one_on_every_route(stage: Stage, stranger: str) -> None:
    """Access/Foreign, Access/Every route, I7."""
    key = stage.others[stranger]
    for route, row in ROUTES.items():
        if row.begins:
            continue
        foreign = await stage.ask(row, route, stage.stream_id, key)
        absent = await stage.ask(row, route, ABSENT, key)
        assert seen(foreign, stage.stream_id) == seen(absent, ABSENT), route
        assert stage.stream_id not in foreign.text or foreign.status_code == 404, route
        is_about_a_stream = "_id}" in route[1] or "{thread}" in route[1] or "{stream}" in str(row.body)
        assert not is_about_a_stream or foreign.status_code in (204, 403, 404) or foreign.json() == _NOTHING, route
    listed = await stage.ask(Row(), ("get", "/v1/streams"), "", key)
    assert listed.status_code == 403 or listed.json() == {"data": [], "next_cursor": None}
    await stage.assert_untouched()


_NOTHING = {"stopped": False, "stream_id": None}
"""The answer about a chat that has not begun."""


@pytest.mark.parametrize("stranger", STRANGERS[:3])
async def test_what_a_stranger_begins_with_the_same_names_is_a_stream_of_its_own(stage: Stage, stranger: str) -> None:
    """Access/Foreign."""
    for route, row in ROUTES.items():
        if row.begins:
            same = {"Idempotency-Key": route[1]}
            its = await stage.ask(row, route, "the same", stage.others[stranger], **same)
            adas = await stage.ask(row, route, "the same", "ada", **same)
            assert {its.status_code, adas.status_code} <= {200, 201}, (route, its.text, adas.text)
            assert its.headers["stream-id"] != adas.headers["stream-id"], route
            for answer, key in ((its, stage.others[stranger]), (adas, "ada")):
                await stage.ask(Row(), ("get", "/v1/streams/{stream_id}?wait=10"), answer.headers["stream-id"], key)


@pytest.mark.parametrize(("key", "code"), [("late", "token_expired"), ("unknown", "unauthorized")])
async def test_no_route_answers_an_expired_or_an_unknown_credential(stage: Stage, key: str, code: str) -> None:
    """Access/Refused, Access/Every route."""
    for route, row in ROUTES.items():
        if row.is_public:
            continue
        own = await stage.ask(row, route, stage.stream_id, key)
        absent = await stage.ask(row, route, ABSENT, key)
        assert own.status_code == 401, (route, own.text)
        assert seen(own, stage.stream_id) == seen(absent, ABSENT), route
        if route[1].startswith("/v1/streams"):
            assert own.json()["code"] == code
    await stage.assert_untouched()


async def test_every_route_names_its_scopes(stage: Stage) -> None:
    """Access/Scopes, Access/Every route."""
    for route, row in ROUTES.items():
        for scope in row.needs:
            own = await stage.ask(row, route, stage.stream_id, f"no-{scope}", **KEY)
            absent = await stage.ask(row, route, ABSENT, f"no-{scope}", **KEY)
            assert own.status_code == 403, (route, scope, own.text)
            assert seen(own, stage.stream_id) == seen(absent, ABSENT), route
    await stage.assert_untouched()


@pytest.mark.parametrize("stranger", STRANGERS)
async def test_a_foreign_stream_is_an_absent_one_to_every_verb(stage: Stage, stranger: str) -> None:
    """Access/Foreign, Access/Every route, I7."""
    async with conversation(stage, stage.others[stranger]) as say:
        for verb, message in VERBS.items():
            if message is not None:
                foreign, absent = await say(verb, message, stage.stream_id), await say(verb, message, ABSENT)
                if verb not in BEGIN:
                    assert foreign == absent, verb
                if verb in ("tail", "cancel"):
                    assert foreign["code"] == "stream_not_found"
                if verb == "tail_thread":
                    assert foreign["code"] == "thread_not_found"
                if verb == "start":
                    adas = await stage.ask(Row(body=ASK), ("post", "/v1/streams"), "", "ada", **KEY)
                    assert foreign.get("id", "refused") != adas.json()["id"]
                if verb in BEGIN:
                    assert (foreign.get("code") == "insufficient_scope") == ("read token" in stranger)
                if verb == "produce" and "read token" not in stranger:
                    sealed = await say("seal", PRODUCER | {"id": foreign["id"], "tail": 1}, "")
                    assert sealed["outcome"] == "completed", "it is the stranger's own"
    await stage.assert_untouched()


async def test_every_verb_names_its_scope(stage: Stage) -> None:
    """Access/Scopes, Access/Every route."""
    for verb, scope in NEEDS:
        message = VERBS[verb]
        assert message is not None
        async with conversation(stage, f"no-{scope}") as say:
            own, absent = await say(verb, message, stage.stream_id), await say(verb, message, ABSENT)
            assert own == absent
            assert own["code"] == "insufficient_scope"
    await stage.assert_untouched()


@asynccontextmanager
async def conversation(stage: Stage, key: str) -> AsyncIterator[Any]:
    """Open a socket with a key; yield what says a verb about a stream and returns the answer."""
    async with dial(stage.client, additional_headers=credential(key)) as talk:
        await talk.hear("ready")

        async def say(verb: str, message: dict[str, Any], stream_id: str) -> dict[str, Any]:
            content = orjson.loads(orjson.dumps(message).replace(b"{stream}", stream_id.encode()))
            await talk.say(type=verb, **content, ref=verb)
            async with asyncio.timeout(10):
                while True:
                    answer = await talk.hear()
                    if answer.get("ref") == verb:
                        names = (stream_id, f"chat-{stream_id}")
                        return {name: None if value in names else value for name, value in answer.items()}

        yield say
