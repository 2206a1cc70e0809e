"""Our endpoints in apps of all kinds, each served by a plain uvicorn (PROTOCOL: Router)."""

import asyncio
import gzip
import signal
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import APIRouter, FastAPI, Header, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.testclient import TestClient
from starlette.responses import Response
from starlette.websockets import WebSocketDisconnect

import midstream
from tests import sse
from tests.contract.foreign_apps import ADA, EXTERNAL, app_of, begun, current_user, ended, serving
from tests.contract.ws_talk import dial


@pytest.fixture
def app(redis_url: str) -> FastAPI:
    return app_of(redis_url)


async def test_what_is_not_ours_stays_as_it_is(redis_url: str) -> None:
    """Router/Prefix."""
    app = app_of(redis_url)
    app.get("/v1/streams")(lambda: "the app's own")
    app.get("/streams/own")(lambda: "its own, too")
    async with serving(app, "") as client:
        assert (await client.get("/v1/streams")).json() == "the app's own"
        assert (await client.get("/streams/own")).json() == "its own, too"
        assert (await client.get("/nowhere")).json() == {"detail": "Not Found"}
        assert (await client.get("/streams/v1/nowhere")).json()["code"] == "not_found"
        assert (await client.put("/streams/v1/streams")).json()["code"] == "method_not_allowed"
        assert (await client.post("/streams/v1/embeddings", json={})).json()["error"]["code"] == "not_found"
        for path in ("/v1/tokens", "/v1/session", "/v1/operate/streams", "/console", "/readyz", "/"):
            assert (await client.get(f"/streams{path}")).status_code == 404
        module = await client.get("/streams/midstream.js", headers={"X-User": ""})
        assert (module.status_code, module.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
        assert (await client.get("/openapi.json")).json()["paths"].keys() == {"/v1/streams", "/streams/own"}


@pytest.mark.parametrize("way", ["in a router", "mounted", "behind a proxy", "with a parameter"])
async def test_it_stands_anywhere(redis_url: str, way: str) -> None:
    """Router/Prefix, Router/Open."""
    routes = midstream.router(caller=of_tenant if way == "with a parameter" else current_user, redis_url=redis_url)
    app, prefix, root = FastAPI(), "/streams", ""
    if way == "in a router":
        outer = APIRouter(prefix="/api")
        outer.include_router(routes, prefix="/deep")
        app.include_router(outer)
        prefix = "/api/deep"
    elif way == "mounted":
        mounted = FastAPI()
        mounted.include_router(routes, prefix="/deep")
        app.mount("/sub", mounted)
        prefix = "/sub/deep"
    elif way == "behind a proxy":
        app.router.redirect_slashes = False
        app.include_router(routes, prefix=prefix)
        root = "/site"
    else:
        app.include_router(routes, prefix="/of/{tenant}")
        prefix = "/of/acme"

    async def served(scope: Any, receive: Any, send: Any) -> None:
        await app(scope | {"root_path": root} if root else scope, receive, send)

    async with serving(served, prefix) as client:
        answer = await client.post("/v1/streams", json=EXTERNAL)
        assert answer.headers["location"] == f"{root}{prefix}/v1/streams/{answer.json()['id']}"
        async with dial(client, additional_headers=ADA) as talk:
            await talk.hear("ready")
            await talk.say(type="cancel", id=answer.json()["id"])
            assert (await talk.hear("cancelling"))["id"] == answer.json()["id"]
        await ended(client, answer.json()["id"])
    left = [task for task in asyncio.all_tasks() if task.get_name() == "midstream in an app"]
    assert len(left) == (way == "mounted")
    for task in left:
        task.cancel()  # as the end of the loop does
        await asyncio.wait((task,))


@pytest.mark.parametrize(
    "path", ["/of/a%0D%0AX-Evil:%20b/v1/streams", "/of/%E6%97%A5/v1/streams", "/of/a/v1/streams%0A"]
)
async def test_a_location_is_a_path_whatever_the_prefix_is(redis_url: str, path: str) -> None:
    """Router/Prefix."""
    app = FastAPI()
    app.include_router(midstream.router(caller=current_user, redis_url=redis_url), prefix="/of/{whom}")
    async with serving(app, "") as client:
        answer = await client.post(path, json=EXTERNAL)
        assert answer.headers["location"] == f"{path.removesuffix('%0A')}/{answer.json()['id']}".replace(":", "%3A")
        assert (await client.delete(answer.headers["location"])).status_code == 204


async def test_an_app_that_compresses_leaves_what_is_compressed_as_it_is(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Router/Prefix, Read/Compressed."""
    monkeypatch.setenv("MIDSTREAM_GZIP", "true")
    app = app_of(redis_url)
    app.add_middleware(GZipMiddleware, minimum_size=1)
    app.add_middleware(CORSMiddleware, allow_origins=["https://app.example"])
    async with serving(app) as client:
        stream_id, headers = await begun(client), {"Origin": "https://app.example", "Accept-Encoding": "gzip"}
        async with client.stream("GET", f"/v1/streams/{stream_id}/events?follow=false", headers=headers) as answer:
            raw = b"".join([part async for part in answer.aiter_raw()])
            assert answer.headers.get_list("content-encoding") == ["gzip"]
            assert {"Accept-Encoding", "Origin"} <= set(answer.headers["vary"].split(", "))
        assert gzip.decompress(raw).startswith(b"retry: ")
        await ended(client, stream_id)


def of_tenant(tenant: str, x_user: Annotated[str, Header()]) -> midstream.Caller:
    return midstream.Caller(tenant, x_user)


async def test_middleware_of_the_app_holds_nothing_back(redis_url: str) -> None:
    """Router/Prefix, Read/Left."""
    app = app_of(redis_url)
    app.add_middleware(GZipMiddleware, minimum_size=1)
    app.add_middleware(CORSMiddleware, allow_origins=["https://app.example"], expose_headers=["Stream-Id"])

    @app.middleware("http")
    async def own(request: Request, call_next: Any) -> Response:
        answer: Response = await call_next(request)
        answer.headers["X-Own"] = "yes"
        return answer

    async with serving(app) as client:
        stream_id, origin = await begun(client), {"Origin": "https://app.example"}
        async with client.stream("GET", f"/v1/streams/{stream_id}/events", headers=origin) as answer:
            assert "content-encoding" not in answer.headers
            assert answer.headers["access-control-allow-origin"] == "https://app.example"
            assert answer.headers["x-own"] == "yes"
            events = sse.parse(answer)
            assert (await anext(events)).type == "start"
            assert (await client.get(f"/v1/streams/{stream_id}")).json()["tails"] == 1
        async with asyncio.timeout(5):
            while (await client.get(f"/v1/streams/{stream_id}")).json()["tails"]:
                await asyncio.sleep(0.01)
        await ended(client, stream_id)


async def test_an_app_that_is_told_to_stop_parts_from_its_tails(redis_url: str) -> None:
    """Router/Stop, I8."""
    signals: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: signals.append(number))
    try:
        async with serving(app_of(redis_url)) as client:
            stream_id = await begun(client)
            async with client.stream("GET", f"/v1/streams/{stream_id}/events") as answer:
                events = sse.parse(answer)
                assert (await anext(events)).type == "start"
                signal.raise_signal(signal.SIGTERM)
                assert [event async for event in events] == []
            await ended(client, stream_id)
        assert signals == [signal.SIGTERM], "uvicorn hears it, and gives it back to whom it had it from"
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_the_end_of_the_lifespan_parts_from_tails(app: FastAPI) -> None:
    """Router/Stop, I8."""
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://app/streams", headers=ADA) as client:
            stream_id = await begun(client)
            reading = asyncio.create_task(client.get(f"/v1/streams/{stream_id}/events"))
            async with asyncio.timeout(5):
                while not (await client.get(f"/v1/streams/{stream_id}")).json()["tails"]:
                    await asyncio.sleep(0.01)
    assert (await reading).text.count("event: ") == 1
    async with serving(app) as client:
        await ended(client, stream_id)


async def test_two_routers_share_nothing_but_the_process(redis_url: str) -> None:
    """Router/Open."""
    app, routes = FastAPI(), midstream.router(caller=current_user, redis_url=redis_url)
    app.include_router(routes, prefix="/one")
    app.include_router(routes, prefix="/again")
    other = midstream.router(caller=lambda: midstream.Caller("other", "ada"), redis_url=redis_url)
    app.include_router(other, prefix="/two")
    async with serving(app, "") as client:
        stream_id = (await client.post("/one/v1/streams", json=EXTERNAL)).json()["id"]
        seen = {at: (await client.get(f"/{at}/v1/streams/{stream_id}")).status_code for at in ("one", "again", "two")}
        assert seen == {"one": 200, "again": 200, "two": 404}
        assert (await client.delete(f"/one/v1/streams/{stream_id}")).status_code == 204


def test_an_app_is_tested_by_the_test_client(app: FastAPI) -> None:
    """Router/Open."""
    with TestClient(app, headers=ADA) as client:
        stream_id = client.post("/streams/v1/streams", json=EXTERNAL).json()["id"]
        assert "event: start" in client.get(f"/streams/v1/streams/{stream_id}/events?follow=false").text
        with client.websocket_connect("/streams/v1/ws") as socket:
            assert socket.receive_json() == {"type": "ready"}
        with client.websocket_connect(
            "/streams/v1/ws", headers={"Cookie": "a=b", "Sec-Fetch-Site": "cross-site"}
        ) as bad:
            assert bad.receive_json()["code"] == "foreign_origin"
            with pytest.raises(WebSocketDisconnect):
                bad.receive_json()
    without = TestClient(app, headers=ADA)  # runs no lifespan, and each request in a loop of its own
    for _ in range(2):
        assert without.get(f"/streams/v1/streams/{stream_id}").json()["status"] == "running"
    assert without.delete(f"/streams/v1/streams/{stream_id}").status_code == 204


async def test_an_app_without_its_server_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Router/Open."""
    monkeypatch.setenv("MIDSTREAM_REDIS_TIMEOUT_S", "0.2")
    app = app_of("redis://127.0.0.1:1/0")
    with pytest.raises(Exception, match=r"127\.0\.0\.1"):
        async with app.router.lifespan_context(app):
            pass
