"""Who calls our endpoints in an app of somebody else's, as the app says (PROTOCOL: Router)."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.security import OAuth2PasswordBearer
from starlette.responses import Response
from websockets.exceptions import InvalidStatus

import midstream
from midstream.settings import Settings
from tests import inside, sse
from tests.contract.foreign_apps import ADA, EXTERNAL, app_of, begun, current_user, ended, serving
from tests.contract.route_table import ASK, CHAT, TALK
from tests.contract.ws_talk import dial

BOB = {"X-User": "bob"}
DOORS = {
    "/v1/streams": ASK | {"stream": True},
    "/v1/responses": ASK | {"stream": True},
    "/v1/chat/completions": TALK | {"stream": True},
    "/v1/messages": TALK | {"stream": True, "max_tokens": 99},
    "/api/chat": CHAT | {"id": "c1", "model": "demo/count"},
}
"""A streamed request to each endpoint that generates."""


@pytest.fixture
def app(redis_url: str) -> FastAPI:
    return app_of(redis_url)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    async with serving(app) as client:
        yield client


async def test_every_door_answers_below_the_prefix(settings: Settings, client: httpx2.AsyncClient) -> None:
    """Router/Prefix."""
    async with inside.worker(settings):
        for path, body in DOORS.items():
            answer = await client.post(path, json=body)
            assert answer.status_code in (200, 201), (path, answer.text)
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert "3" in answer.text
        listed = (await client.get("/v1/streams")).json()["data"]
        assert {row["user"] for row in listed} == {"ada"}
        started = await client.post("/v1/streams", json=ASK)
        address = started.headers["location"]
        assert address == f"/streams/v1/streams/{started.json()['id']}"
        state = await client.get(f"{client.base_url.scheme}://{client.base_url.netloc.decode()}{address}?wait=10")
        assert state.json()["outcome"] == "completed"
        async with dial(client, additional_headers=ADA) as talk:
            await talk.hear("ready")
            await talk.say(type="start", request=ASK)
            stream_id = (await talk.hear("started"))["id"]
            assert (await talk.entries(stream_id))[stream_id][-1]["type"] == "end"
    events = await sse.tail(client, stream_id)
    assert await sse.tail(client, stream_id, after=3) == events[3:]
    assert await sse.tail(client, stream_id, after=len(events)) == []


async def test_one_user_never_meets_another(client: httpx2.AsyncClient) -> None:
    """Router/Caller, I7."""
    stream_id = await begun(client)
    for method, path in (("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("DELETE", "")):
        answer = await client.request(method, f"/v1/streams/{stream_id}{path}", headers=BOB)
        assert (answer.status_code, answer.json()["code"]) == (404, "stream_not_found")
    assert (await client.get("/v1/streams", headers=BOB)).json()["data"] == []
    async with dial(client, additional_headers=BOB) as talk:
        await talk.hear("ready")
        await talk.say(type="tail", id=stream_id)
        assert (await talk.hear("error"))["code"] == "stream_not_found"
        for key in ("any", ""):
            await talk.say(type="auth", key=key)
            assert (await talk.hear("error"))["code"] == "named_by_app"
    named = await client.post("/v1/streams", json=EXTERNAL | {"user": "bob"})
    assert named.status_code == 400
    await ended(client, stream_id)


async def test_a_caller_has_its_tenant_and_its_scopes(redis_url: str) -> None:
    """Router/Caller."""
    app = app_of(redis_url)
    async with serving(app) as client:
        stream_id = await begun(client)
        app.dependency_overrides[current_user] = lambda: midstream.Caller(user="ada", scopes=["read"])
        assert (await client.get(f"/v1/streams/{stream_id}")).status_code == 200
        refused = await client.post(f"/v1/streams/{stream_id}/cancel")
        assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
        app.dependency_overrides[current_user] = midstream.Caller
        assert [row["id"] for row in (await client.get("/v1/streams")).json()["data"]] == [stream_id]
        app.dependency_overrides[current_user] = lambda: midstream.Caller("acme")
        assert (await client.get("/v1/streams")).json()["data"] == []
        app.dependency_overrides.clear()
        await ended(client, stream_id)


async def test_a_refusal_has_the_shape_of_the_endpoint(client: httpx2.AsyncClient) -> None:
    """Router/Refused."""
    del client.headers["X-User"]
    for path, body in DOORS.items():
        answer = await client.post(path, json=body)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert "who are you?" in answer.text
        if path == "/api/chat":
            assert answer.headers["error-code"] == "unauthorized"
        else:
            assert ("error" in answer.json()) == (path != "/v1/streams")
    events = await client.get("/v1/streams/any/events")
    assert (events.status_code, events.json()["code"]) == (401, "unauthorized")
    async with dial(client) as talk:
        assert (await talk.hear())["code"] == "unauthorized"
        assert await talk.until_closed([]) == 4401


class NotSignedInError(Exception):
    """An app's own error, with a handler of the app's own."""


async def test_whatever_the_app_answers_instead_is_a_refusal(redis_url: str) -> None:
    """Router/Refused."""
    app = app_of(redis_url)

    @app.exception_handler(NotSignedInError)
    async def to_the_page(_: Request, error: Exception) -> Response:
        return RedirectResponse("/login") if not error.args else JSONResponse({"why": 1}, error.args[0])

    def needs(x_token: Annotated[int, Header()]) -> str:
        return str(x_token)

    app.dependency_overrides[current_user] = needs
    answers: list[tuple[Any, int, str]] = [
        (NotSignedInError(), 401, "unauthorized"),
        (NotSignedInError(429), 429, "caller_refused"),
        (HTTPException(503, {"more": "than words"}), 503, "caller_refused"),
        (None, 401, "unauthorized"),
        ("", 500, ""),
        (object(), 500, ""),
    ]
    async with serving(app) as client:
        unfit = await client.get("/v1/streams")
        assert (unfit.status_code, unfit.json()["code"]) == (422, "caller_refused")
        for outcome, status, code in answers:

            def answer(outcome: Any = outcome) -> Any:
                if isinstance(outcome, Exception):
                    raise outcome
                return outcome

            app.dependency_overrides[current_user] = lambda answer=answer: answer()
            seen = await client.get("/v1/streams")
            assert seen.status_code == status, outcome
            assert not code or seen.json()["code"] == code
            with pytest.raises(InvalidStatus) if status == 500 else pytest.MonkeyPatch.context():
                async with dial(client) as talk:
                    assert (await talk.hear())["code"] == code


async def test_a_dependency_is_over_before_the_answer_and_may_read_the_body(redis_url: str) -> None:
    """Router/Caller."""
    held: list[str] = []
    bearer = OAuth2PasswordBearer("token")  # wants a `Request`

    async def session(request: Request) -> AsyncIterator[bytes]:
        held.append(request.url.path)
        yield await request.body()
        held.remove(request.url.path)

    def signed(body: Annotated[bytes, Depends(session)], token: Annotated[str, Depends(bearer)]) -> str:
        return token if b"forged" not in body else ""

    app = FastAPI()
    app.include_router(midstream.router(caller=signed, redis_url=redis_url), prefix="/streams")
    async with serving(app) as client:
        client.headers = httpx2.Headers({"Authorization": "Bearer ada"})
        body = EXTERNAL | {"input": "x" * 300_000}
        stream_id = (await client.post("/v1/streams", json=body)).json()["id"]
        async with client.stream("GET", f"/v1/streams/{stream_id}/events") as answer:
            events = sse.parse(answer)
            assert (await anext(events)).type == "start"
            assert held == []
            async with dial(client, additional_headers={"Authorization": "Bearer ada"}) as talk:
                await talk.hear("ready")
                assert held == []
        await ended(client, stream_id)


async def test_keys_and_tokens_of_a_broker_count_for_nothing(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Router/Caller."""
    monkeypatch.setenv("MIDSTREAM_API_KEYS", "a-key-of-a-broker-of-the-same-redis:default")
    monkeypatch.setenv("MIDSTREAM_JWT_ISSUER", "https://identity.example")
    monkeypatch.setenv("MIDSTREAM_JWT_AUDIENCE", "midstream")
    monkeypatch.setenv("MIDSTREAM_JWT_JWKS", "https://identity.example/keys")
    monkeypatch.setenv("MIDSTREAM_ALLOWED_HOSTS", "midstream.example")
    async with serving(app_of(redis_url)) as client:
        key = {"Authorization": "Bearer a-key-of-a-broker-of-the-same-redis"}
        assert (await client.get("/v1/streams", headers=key)).json()["data"] == []
        async with dial(client, additional_headers=ADA | key) as talk:
            await talk.hear("ready")
            await talk.say(type="auth", key="a-key-of-a-broker-of-the-same-redis")
            assert (await talk.hear())["code"] == "named_by_app"
        del client.headers["X-User"]
        assert (await client.get("/v1/streams", headers=key)).status_code == 401


@pytest.mark.parametrize("site", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}])
@pytest.mark.parametrize("cookie", [{"Cookie": "session=ada"}, {"Authorization": "Basic YWRhOjE="}])
async def test_a_page_of_another_site_changes_nothing_by_what_a_browser_adds(
    client: httpx2.AsyncClient, site: dict[str, str], cookie: dict[str, str]
) -> None:
    """Router/Foreign pages."""
    stream_id = await begun(client)
    refused = await client.post(f"/v1/streams/{stream_id}/cancel", headers=cookie | site)
    assert (refused.status_code, refused.json()["code"]) == (403, "foreign_origin")
    async with dial(client, additional_headers=ADA | cookie | site) as talk:
        assert (await talk.hear())["code"] == "foreign_origin"
    assert (await client.get(f"/v1/streams/{stream_id}", headers=cookie | site)).json()["status"] == "running"
    near = {"Sec-Fetch-Site": "same-site", "Origin": "https://app.example"}
    assert (await client.post(f"/v1/streams/{stream_id}/lease", headers=cookie | near)).status_code == 400
    assert (await client.post(f"/v1/streams/{stream_id}/cancel", headers=site)).status_code == 202
    await ended(client, stream_id)


def test_a_caller_has_to_fit() -> None:
    """Router/Caller."""
    for fields in ({"tenant": "a/b"}, {"tenant": ""}, {"user": ""}, {"user": "x" * 201}, {"user": "\ud800"}):
        with pytest.raises(ValueError, match=r"tenant|user|surrogates"):
            midstream.Caller(**fields)
    for scopes in (["operate"], ["all"]):
        with pytest.raises(ValueError, match=r"operator|Scope"):
            midstream.Caller(scopes=scopes)
    with pytest.raises(TypeError, match="dependency"):
        midstream.router(caller="ada")  # type: ignore[arg-type]
