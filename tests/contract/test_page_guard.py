"""What a hostile page reaches of a broker: nothing in open mode (PROTOCOL: Access/Hosts, Access/Origins)."""

from typing import Any

import httpx2
import pytest
from pydantic import SecretStr, ValidationError
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from midstream.access.host_names import is_loopback
from midstream.settings import Settings
from tests import inside
from tests.contract.route_table import ROUTES, Row

OURS, THEIRS = "https://app.example", "https://evil.example"
START = {"model": "demo/count", "input": "x"}


async def answers(client: httpx2.AsyncClient, **headers: str) -> dict[tuple[str, str], httpx2.Response]:
    """Ask every route about a stream that does not exist."""
    by_route = {}
    for route, row in ROUTES.items():
        request = row.sent(*route, "0" * 32)
        request["headers"] |= {name.replace("_", "-"): value for name, value in headers.items()}
        by_route[route] = await client.request(**request)
    return by_route


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("localhost", True),
        ("LocalHost:8080", True),
        ("app.localhost:8080", True),
        ("127.0.0.1:8080", True),
        ("127.8.9.1", True),
        ("[::1]:8080", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("evillocalhost", False),
        ("127.0.0.1.evil.example:8080", False),
        ("192.168.1.2", False),
        ("localhost@evil.example", False),
        ("[", False),
        ("", False),
    ],
)
def test_a_host_is_loopback_by_its_whole_name(host: str, is_ours: bool) -> None:
    assert is_loopback(host) == is_ours


async def test_a_page_whose_name_resolves_to_loopback_reaches_no_route(settings: Settings) -> None:
    """Access/Hosts."""
    async with inside.worker(settings), inside.broker(settings) as client:
        rebound = {"Host": "evil.example:8080", "Origin": "http://evil.example:8080", "Sec-Fetch-Site": "same-origin"}
        for route, answer in (await answers(client, **rebound)).items():
            assert answer.status_code == 421, (route, answer.text)
        native = await client.get("/v1/streams/x/events", headers=rebound)
        assert native.json()["code"] == "unknown_host"
        for path in ("/", "/docs", "/openapi.json", "/midstream.js"):
            assert (await client.get(path, headers=rebound)).status_code == 421
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://127.0.0.1:{client.base_url.port}/v1/ws", additional_headers={"Host": "evil.example"})
        assert refused.value.response.status_code == 421
        assert (await client.get("/v1/streams")).json()["data"] == []


async def test_a_listed_host_is_one_of_the_brokers_names(settings: Settings) -> None:
    """Access/Hosts."""
    named = {"allowed_hosts": "Midstream.Example, 10.0.0.7"}
    for changes in (named, named | {"api_keys": SecretStr("admin:acme")}):
        async with inside.broker(settings.model_copy(update=changes)) as client:
            for host, status in (("midstream.example", 200), ("10.0.0.7:80", 200), ("localhost", 200), ("x.y", 421)):
                answer = await client.get("/v1/models", headers={"Host": host, "Authorization": "Bearer admin"})
                assert answer.status_code == status, host


async def test_with_keys_and_no_list_a_broker_goes_by_any_name(settings: Settings) -> None:
    """Access/Hosts."""
    async with inside.broker(settings.model_copy(update={"api_keys": SecretStr("admin:acme")})) as client:
        headers = {"Host": "any.example", "Authorization": "Bearer admin"}
        assert (await client.get("/v1/models", headers=headers)).status_code == 200


@pytest.mark.parametrize("hosts", ["https://midstream.example", "midstream.example:8080", "*", "a b"])
def test_what_is_no_host_is_refused_at_the_start(hosts: str) -> None:
    with pytest.raises(ValidationError, match="is not a host's name"):
        Settings(allowed_hosts=hosts)


@pytest.mark.parametrize(
    "page",
    [
        {"Origin": THEIRS},
        {"Origin": "null"},
        {"Origin": THEIRS, "Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://localhost:3000", "Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://["},
    ],
)
async def test_a_page_of_another_origin_changes_nothing(settings: Settings, page: dict[str, str]) -> None:
    """Access/Origins."""
    async with inside.broker(settings) as client:
        for (method, path), answer in (await answers(client, **page)).items():
            assert (answer.status_code == 403) == (method != "get"), (method, path, answer.text)
        refused = await client.post("/v1/streams", json=START, headers=page)
        assert (refused.status_code, refused.json()["code"]) == (403, "foreign_origin")
        assert (await client.get("/v1/streams")).json()["data"] == []


async def test_pages_of_ours_and_programs_change_what_they_like(settings: Settings) -> None:
    """Access/Origins."""
    listed = settings.model_copy(update={"cors_origins": OURS})
    async with inside.worker(listed), inside.broker(listed) as client:
        ours = f"http://127.0.0.1:{client.base_url.port}"
        pages: list[dict[str, Any]] = [
            {},
            {"Origin": ours},
            {"Origin": ours, "Sec-Fetch-Site": "same-origin"},
            {"Origin": "http://localhost:5173", "Sec-Fetch-Site": "same-origin"},  # by a proxy that replaces `Host`
            {"Origin": OURS, "Sec-Fetch-Site": "cross-site"},
        ]
        for page in pages:
            started = await client.post("/v1/streams", json=START, headers=page)
            assert started.status_code == 201, page
            route = ("get", "/v1/streams/{stream_id}")
            await client.get(Row().sent(*route, started.json()["id"])["url"] + "?wait=10")


async def test_a_page_with_a_key_of_its_own_is_let_in_from_anywhere(settings: Settings) -> None:
    """Access/Origins: no browser sends a key by itself."""
    async with inside.broker(settings.model_copy(update={"api_keys": SecretStr("admin:acme")})) as client:
        headers = {"Origin": THEIRS, "Sec-Fetch-Site": "cross-site", "Authorization": "Bearer admin"}
        assert (await client.post("/v1/streams/x/cancel", headers=headers)).status_code == 404
        async with connect(f"ws://127.0.0.1:{client.base_url.port}/v1/ws", origin=Origin(THEIRS)) as socket:
            await socket.send('{"type":"auth","key":"admin"}')
            assert await socket.recv() == '{"type":"ready"}'
