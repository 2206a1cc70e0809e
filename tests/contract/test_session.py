"""A page's session by a cookie: what it opens, when it ends, and for which pages it is good (Access/Cookie)."""

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr
from websockets.asyncio.client import connect

from midstream import file_watch
from midstream.access.api_keys import digest
from midstream.access.grant import TENANT_SCOPES, Grant
from midstream.access.session_tokens import SessionTokens
from midstream.settings import Settings
from tests.contract.access_calls import ADMIN, START, bearer, read_token, served, started
from tests.contract.ws_talk import Talk

SECRET = "s" * 32
SAME = {"Sec-Fetch-Site": "same-origin"}


def cookie(answer: httpx2.Response) -> dict[str, str]:
    """Return the header by which a browser sends a cookie back."""
    return {"Cookie": answer.headers["set-cookie"].partition(";")[0]}


async def session(client: httpx2.AsyncClient, headers: dict[str, str]) -> dict[str, str]:
    answer = await client.post("/v1/session", headers=headers)
    assert answer.status_code == 204, answer.text
    client.cookies.clear()
    return cookie(answer)


async def test_the_cookie_is_one_that_no_script_and_no_other_site_reads(settings: Settings) -> None:
    """Access/Cookie."""
    async with served(settings) as client:
        plain = (await client.post("/v1/session", headers=ADMIN)).headers
        assert plain["set-cookie"].startswith("midstream=")
        assert plain["set-cookie"].endswith("; Path=/; Max-Age=3600; HttpOnly; SameSite=Strict")
        assert plain["cache-control"] == "no-store"
        beyond = (await client.post("/v1/session", headers=ADMIN | {"Host": "midstream.example"})).headers
        assert beyond["set-cookie"].startswith("__Host-midstream=")
        assert beyond["set-cookie"].endswith("; Path=/; Max-Age=3600; HttpOnly; SameSite=Strict; Secure")
        cleared = await client.delete("/v1/session", headers=cookie(httpx2.Response(204, headers=plain)))
        assert cleared.headers["set-cookie"].startswith("midstream=; Path=/; Max-Age=0;")
        assert (await client.delete("/v1/session", headers={"Origin": "https://evil.example"})).status_code == 403


async def test_beyond_loopback_only_a_cookie_that_no_sibling_can_set_counts(settings: Settings) -> None:
    """Access/Cookie."""
    async with served(settings) as client:
        host = {"Host": "midstream.example"}
        its = await session(client, ADMIN | host)
        assert (await client.get("/v1/streams", headers=its | host)).status_code == 200
        sibling = {"Cookie": its["Cookie"].removeprefix("__Host-")}
        assert (await client.get("/v1/streams", headers=sibling | host)).status_code == 401


async def test_a_session_opens_what_its_bearer_opens(settings: Settings, tmp_path: Path) -> None:
    """Access/Cookie, Access/Foreign."""
    path = tmp_path / "keys.toml"
    row = '[[keys]]\nname = "{0}"\nsha256 = "{1}"\ntenant = "acme"\nuser = "{0}"\nscopes = ["read"]\n'
    path.write_text(row.format("ada", digest("ada")))
    async with served(settings, keys_file=path) as client:
        of_ada, of_bob = await started(client, ADMIN, user="ada"), await started(client, ADMIN, user="bob")
        adas = await session(client, bearer("ada"))
        events = await client.get(f"/v1/streams/{of_ada}/events", headers=adas | SAME)
        assert "event: end" in events.text
        assert (await client.get(f"/v1/streams/{of_bob}/events", headers=adas | SAME)).status_code == 404
        refused = await client.post("/v1/streams", json=START, headers=adas | SAME)
        assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
        narrow = await session(client, bearer(await read_token(client, stream=of_ada)))
        assert (await client.get(f"/v1/streams/{of_ada}", headers=narrow)).status_code == 200
        assert (await client.get("/v1/streams", headers=narrow)).status_code == 403
        both = await client.get(f"/v1/streams/{of_bob}", headers=narrow | ADMIN)
        assert both.status_code == 200, "a bearer counts before a cookie"


async def test_a_session_ends_with_its_bearer_and_by_its_time(settings: Settings) -> None:
    """Access/Cookie."""
    async with served(settings, token_secrets=SecretStr(SECRET)) as client:
        stream_id = await started(client, ADMIN)
        short = await client.post("/v1/session", headers=bearer(await read_token(client, stream=stream_id, ttl_s=60)))
        assert 0 < int(short.headers["set-cookie"].partition("Max-Age=")[2].partition(";")[0]) <= 60
        client.cookies.clear()
        grant = Grant("acme", scopes=TENANT_SCOPES, credential="key:setting")
        over, _ = SessionTokens([SECRET.encode()]).make(grant, now_s=time.time() - 120, ttl_s=60)
        refused = await client.get("/v1/streams", headers={"Cookie": f"midstream={over}"})
        assert (refused.status_code, refused.json()["code"]) == (401, "token_expired")
        forged, _ = SessionTokens([b"f" * 32]).make(grant, now_s=time.time(), ttl_s=60)
        refused = await client.get("/v1/streams", headers={"Cookie": f"midstream={forged}"})
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")


async def test_a_session_ends_when_its_key_is_revoked(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Access/Cookie, Access/Ending."""
    monkeypatch.setattr(file_watch, "LOOK_S", 0.02)
    path = tmp_path / "keys.toml"
    path.write_text(f'[[keys]]\nname = "one"\nsha256 = "{digest("one")}"\ntenant = "acme"\n')
    async with served(settings, keys_file=path) as client:
        its = await session(client, bearer("one"))
        long = START | {"params": {"words": 1_000, "delay_ms": 1_000}}
        stream_id = (await client.post("/v1/streams", json=long, headers=ADMIN)).json()["id"]
        async with client.stream("GET", f"/v1/streams/{stream_id}/events", headers=its | SAME) as tail:
            assert tail.status_code == 200
            path.write_text("")
            async with asyncio.timeout(10):
                seen = "".join([text async for text in tail.aiter_text()])
        assert "credential_revoked" in seen
        refused = await client.get("/v1/streams", headers=its)
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
        await client.post(f"/v1/streams/{stream_id}/cancel", headers=ADMIN)


@pytest.mark.parametrize(
    ("page", "may_read", "may_change"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, True, True),
        ({"Sec-Fetch-Site": "same-site", "Origin": "https://other.example"}, True, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, False, False),
        ({"Sec-Fetch-Site": "none"}, True, False),
        ({"Origin": "https://evil.example"}, True, False),
        ({"Origin": "{own}"}, True, True),
        ({}, True, False),
    ],
)
async def test_a_cookie_changes_something_only_with_proof_of_its_page(
    settings: Settings, page: dict[str, str], may_read: bool, may_change: bool
) -> None:
    """Access/Cookie: `SameSite=Strict` keeps browsers from sending it elsewhere, and this does not rely on that."""
    async with served(settings) as client:
        own = str(client.base_url).rstrip("/")
        headers = await session(client, ADMIN) | {name: value.format(own=own) for name, value in page.items()}
        read = await client.get("/v1/streams", headers=headers)
        changed = await client.post("/v1/streams/x/cancel", headers=headers)
        assert read.status_code == (200 if may_read else 403)
        assert changed.status_code == (404 if may_change else 403), changed.text
        assert may_change or changed.json()["code"] == "foreign_origin"
        hears = await _hears(client, headers)
        assert hears.get("code", "ready") == ("ready" if may_change else "foreign_origin")


async def _hears(client: httpx2.AsyncClient, headers: dict[str, str]) -> dict[str, Any]:
    url = f"ws://{client.base_url.host}:{client.base_url.port}/v1/ws"
    async with connect(url, additional_headers=headers) as socket:
        return await Talk(socket).hear()
