"""Credentials over real HTTP: what each opens, and what stays absent or refused (PROTOCOL: Access)."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr

from midstream.access.api_keys import digest
from midstream.settings import Settings
from tests import inside
from tests.contract.access_calls import ADMIN, START, bearer, read_token, served, started
from tests.contract.ws_talk import dial

FOREIGN = ("GET", ""), ("GET", "/events"), ("GET", "/entries"), ("POST", "/cancel"), ("DELETE", "")


async def test_a_read_token_reads_its_stream_and_nothing_else(settings: Settings) -> None:
    """Access/Read tokens, Access/Foreign, I7."""
    async with served(settings) as client:
        its, other = await started(client, ADMIN), await started(client, ADMIN)
        headers = bearer(await read_token(client, stream=its))
        events = await client.get(f"/v1/streams/{its}/events", headers=headers)
        assert "event: end" in events.text
        for method, path in FOREIGN:
            seen = await client.request(method, f"/v1/streams/{other}{path}", headers=headers)
            absent = await client.request(method, f"/v1/streams/{'0' * 32}{path}", headers=headers)
            assert (seen.status_code, seen.json()) == (absent.status_code, absent.json())
            assert seen.status_code == (404 if method == "GET" else 403)
        for method, path, body in (
            ("POST", f"/v1/streams/{its}/cancel", None),
            ("DELETE", f"/v1/streams/{its}", None),
            ("GET", "/v1/streams", None),
            ("POST", "/v1/streams", START),
            ("POST", "/v1/tokens", {"stream": its}),
            ("POST", "/v1/responses/input_tokens", {"model": "openai/gpt-4o", "input": "hi"}),
        ):
            refused = await client.request(method, path, json=body, headers=headers)
            assert refused.status_code == 403, (path, refused.text)
            assert "insufficient_scope" in refused.text


async def test_another_tenants_stream_is_asked_for_by_another_name(settings: Settings, redis: Any) -> None:
    """Access/Names, I7."""
    keyed = settings.model_copy(update={"api_keys": SecretStr("admin:acme,other:beta")})
    async with inside.broker(keyed) as client:
        async with inside.worker(keyed):  # stops before commands are read: it removes slips after their streams' ends
            stream_id = await started(client, ADMIN)
        assert await redis.exists(f"ms:{{acme/{stream_id}}}:state") == 1
        async with redis.monitor() as monitor:
            for requested_id in (stream_id, "0" * 32):
                answer = await client.get(f"/v1/streams/{requested_id}/events", headers=bearer("other"))
                assert answer.status_code == 404
            await redis.echo("over")  # no PING: a connection that has rested sends one of its own
            commands: list[str] = []
            async for command in monitor.listen():
                if command["command"] == "ECHO over":
                    break
                commands.append(command["command"])
        read = [command for command in commands if "beta/" in command]
        assert not [command for command in commands if "acme/" in command]
        assert [command.replace(stream_id, "0" * 32) for command in read[: len(read) // 2]] == read[len(read) // 2 :]
        for disguised in (f"acme/{stream_id}", f"beta/{stream_id}"):
            async with dial(client, additional_headers=bearer("other")) as talk:
                await talk.say(type="tail", id=disguised)
                assert (await talk.hear("error"))["code"] == "stream_not_found"


async def test_a_read_token_of_a_thread_opens_its_streams(settings: Settings) -> None:
    """Access/Read tokens."""
    async with served(settings) as client:
        inner, outer = await started(client, ADMIN, thread="t1"), await started(client, ADMIN, thread="t2")
        headers = bearer(await read_token(client, thread="t1", scopes=["read", "stop"]))
        assert (await client.get(f"/v1/streams/{inner}", headers=headers)).status_code == 200
        assert (await client.post(f"/v1/streams/{inner}/cancel", headers=headers)).status_code == 202
        assert (await client.get(f"/v1/streams/{outer}", headers=headers)).status_code == 404
        of_bob = await started(client, ADMIN, thread="t1", user="bob")
        assert (await client.get(f"/v1/streams/{of_bob}", headers=headers)).status_code == 200
        of_ada = bearer(await read_token(client, thread="t1", user="ada"))
        assert (await client.get(f"/v1/streams/{of_bob}", headers=of_ada)).status_code == 404


async def test_a_users_credential_sees_that_users_streams_alone(settings: Settings, tmp_path: Path) -> None:
    """Access/Foreign, I7."""
    path = tmp_path / "keys.toml"
    row = '[[keys]]\nname = "{0}"\nsha256 = "{1}"\ntenant = "acme"\nuser = "{0}"\n'
    path.write_text(row.format("ada", digest("ada")) + row.format("bob", digest("bob")))
    async with served(settings, keys_file=path) as client:
        of_ada, of_bob = await started(client, bearer("ada")), await started(client, ADMIN, user="bob")
        same = {"Idempotency-Key": "same"}
        ids = {(await client.post("/v1/streams", json=START, headers=bearer(key) | same)).json()["id"]
               for key in ("ada", "bob", "admin")}  # fmt: skip
        assert len(ids) == 3, "a key of one user's is no key of another's"
        for stream_id in ids:
            await client.get(f"/v1/streams/{stream_id}?wait=10", headers=ADMIN)
        for method, suffix in FOREIGN:
            seen = await client.request(method, f"/v1/streams/{of_bob}{suffix}", headers=bearer("ada"))
            absent = await client.request(method, f"/v1/streams/{'0' * 32}{suffix}", headers=bearer("ada"))
            assert (seen.status_code, seen.json()) == (absent.status_code, absent.json())
            assert seen.status_code == 404
        rows = {key: (await client.get("/v1/streams", headers=bearer(key))).json()["data"] for key in ("ada", "admin")}
        assert {row["user"] for row in rows["ada"]} == {"ada"}
        assert {row["id"] for row in rows["admin"]} == {of_ada, of_bob, *ids}
        other = await client.post("/v1/streams", json=START | {"user": "bob"}, headers=bearer("ada"))
        assert (other.status_code, other.json()["errors"][0]["at"]) == (400, "user")
        own = await client.post("/v1/tokens", json={"stream": of_bob}, headers=bearer("ada"))
        assert own.status_code == 404


async def test_a_key_that_only_starts_reads_nothing(settings: Settings, tmp_path: Path) -> None:
    """Access/Scopes."""
    path = tmp_path / "keys.toml"
    path.write_text(f'[[keys]]\nname = "s"\nsha256 = "{digest("s")}"\ntenant = "acme"\nscopes = ["start"]\n')
    async with served(settings, keys_file=path) as client:
        stream_id = await started(client, bearer("s") | {"Idempotency-Key": "k"})
        again = await client.post("/v1/streams", json=START, headers=bearer("s") | {"Idempotency-Key": "k"})
        assert (again.status_code, again.json()["id"]) == (200, stream_id)
        before = len((await client.get("/v1/streams", headers=ADMIN)).json()["data"])
        for request in (
            client.post("/v1/streams", json=START | {"stream": True}, headers=bearer("s")),
            client.post("/v1/responses", json={"model": "demo/count", "input": "hi"}, headers=bearer("s")),
            client.get(f"/v1/streams/{stream_id}", headers=bearer("s")),
            client.get(f"/v1/streams/{stream_id}/events", headers=bearer("s")),
        ):
            assert (await request).status_code == 403
        assert len((await client.get("/v1/streams", headers=ADMIN)).json()["data"]) == before


@pytest.mark.parametrize(
    "request_body",
    [
        {},
        {"stream": "s", "thread": "t"},
        {"stream": "s", "scopes": ["start"]},
        {"stream": "s", "scopes": []},
        {"stream": "s", "ttl_s": 0},
        {"stream": "s", "user": ""},
    ],
)
async def test_a_read_token_is_for_one_thing(settings: Settings, request_body: dict[str, Any]) -> None:
    async with served(settings) as client:
        refused = await client.post("/v1/tokens", json=request_body, headers=ADMIN)
        assert (refused.status_code, refused.json()["code"]) == (400, "bad_request")


async def test_a_read_token_lives_no_longer_than_the_setting_allows(settings: Settings) -> None:
    """Access/Read tokens."""
    async with served(settings, read_token_ttl_s=60) as client:
        stream_id = await started(client, ADMIN)
        request = {"stream": stream_id, "ttl_s": 86_400}
        answer = (await client.post("/v1/tokens", json=request, headers=ADMIN)).json()
        assert answer["expires_s"] <= time.time() + 60
        missing = await client.post("/v1/tokens", json={"stream": "0" * 32}, headers=ADMIN)
        assert (missing.status_code, missing.json()["code"]) == (404, "stream_not_found")


async def test_a_start_answers_with_a_read_token_if_it_is_wanted(settings: Settings, tmp_path: Path) -> None:
    """Access/Read tokens."""
    path = tmp_path / "keys.toml"
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=30)
    path.write_text(
        f'[[keys]]\nname = "soon"\nsha256 = "{digest("soon")}"\ntenant = "acme"\nexpires = {soon.isoformat()}\n'
    )
    async with served(settings, keys_file=path) as client:
        answer = await client.post("/v1/streams", json=START | {"read_token": True}, headers=bearer("soon"))
        assert answer.headers["cache-control"] == "no-store"
        document = answer.json()
        assert document["read_token_expires_s"] <= soon.timestamp()
        token = bearer(document["read_token"])
        events = await client.get(f"/v1/streams/{document['id']}/events", headers=token)
        assert "event: end" in events.text
        both = await client.post("/v1/streams", json=START | {"read_token": True, "stream": True}, headers=ADMIN)
        assert (both.status_code, both.json()["code"]) == (400, "bad_request")


@pytest.mark.parametrize("name", ["token", "access_token", "key", "api_key"])
async def test_a_credential_in_the_url_is_refused_by_name(settings: Settings, name: str) -> None:
    """Access/Refused."""
    async with served(settings) as client:
        refused = await client.get(f"/v1/streams/{'0' * 32}/events?{name}=admin")
        assert (refused.status_code, refused.json()["code"]) == (400, "credential_in_url")
        assert f"`{name}`" in refused.json()["detail"]


async def test_each_refusal_has_the_code_of_its_reason_in_each_dialect(settings: Settings) -> None:
    """Access/Refused, Access/Scopes."""
    rows = (
        f'[[keys]]\nname = "old"\nsha256 = "{digest("old")}"\ntenant = "acme"\nexpires = 2020-01-01T00:00:00Z\n'
        f'[[keys]]\nname = "reader"\nsha256 = "{digest("reader")}"\ntenant = "acme"\nscopes = ["read"]\n'
    )
    path = Path(settings.data_dir) / "keys.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(rows)
    bodies = {
        "/v1/streams": START,
        "/v1/responses": {"model": "demo/count", "input": "hi"},
        "/v1/chat/completions": {"model": "demo/count", "messages": [{"role": "user", "content": "hi"}]},
        "/v1/messages": {"model": "demo/count", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]},
    }
    async with served(settings, keys_file=path) as client:
        for route, body in bodies.items():
            for key, status in (("wrong", 401), ("old", 401), ("reader", 403)):
                refused = await client.post(route, json=body, headers=bearer(key))
                assert refused.status_code == status, (route, key, refused.text)
                assert ("www-authenticate" in refused.headers) == (status == 401)
        codes = [(await client.post("/v1/streams", json=START, headers=bearer(key))).json()["code"]
                 for key in ("wrong", "old", "reader")]  # fmt: skip
        assert codes == ["unauthorized", "token_expired", "insufficient_scope"]


async def test_of_two_credentials_the_valid_one_counts(settings: Settings, tmp_path: Path) -> None:
    """Access/Refused."""
    path = tmp_path / "keys.toml"
    path.write_text(
        f'[[keys]]\nname = "old"\nsha256 = "{digest("old")}"\ntenant = "acme"\nexpires = 2020-01-01T00:00:00Z\n'
    )
    results = {
        ("old", "admin"): 200,
        ("admin", "old"): 200,
        ("wrong", "admin"): 200,
        ("old", "wrong"): "token_expired",
        ("wrong", "old"): "token_expired",
        ("wrong", "wrong"): "unauthorized",
    }
    async with served(settings, keys_file=path) as client:
        for (key, further), result in results.items():
            answer = await client.get("/v1/streams", headers=bearer(key) | {"x-api-key": further})
            assert result == (200 if answer.status_code == 200 else answer.json()["code"]), (key, further)


@asynccontextmanager
async def key_server(document: bytes) -> AsyncIterator[str]:
    """Serve a key set on loopback, as an identity provider does."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(document)}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode() + document)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks"


async def test_tokens_of_an_identity_provider_are_verified_with_its_published_keys(settings: Settings) -> None:
    """Access/Jwt."""
    key = ec.generate_private_key(ec.SECP256R1())
    row = jwt.get_algorithm_by_name("ES256").to_jwk(key.public_key(), as_dict=True) | {"kid": "k1", "alg": "ES256"}
    claims = {"iss": "https://id.example", "aud": "midstream", "sub": "ada", "exp": time.time() + 60}

    def token(**changes: Any) -> dict[str, str]:
        return bearer(jwt.encode(claims | changes, key, "ES256", {"kid": "k1"}))

    async with key_server(json.dumps({"keys": [row]}).encode()) as url:
        provider = {"jwt_issuer": "https://id.example", "jwt_audience": "midstream", "jwt_jwks": url}
        async with served(settings, api_keys=SecretStr(""), **provider) as client:
            stream_id = await started(client, token())
            assert (await client.get(f"/v1/streams/{stream_id}/events", headers=token())).status_code == 200
            expired = await client.get("/v1/streams", headers=token(exp=time.time() - 60))
            assert (expired.status_code, expired.json()["code"]) == (401, "token_expired")
            for changes in ({"aud": "other"}, {"iss": "https://evil.example"}, {"nbf": time.time() + 600}):
                refused = await client.get("/v1/streams", headers=token(**changes))
                assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
            narrow = await client.post("/v1/streams", json=START, headers=token(scope="read"))
            assert (narrow.status_code, narrow.json()["code"]) == (403, "insufficient_scope")


async def test_a_socket_takes_a_read_token_and_keeps_to_it(settings: Settings) -> None:
    """Access/Scopes, Ws/Key."""
    async with served(settings) as client:
        its, other = await started(client, ADMIN), await started(client, ADMIN)
        token = await read_token(client, stream=its)
        async with dial(client) as talk:
            await talk.say(type="auth", key=token)
            await talk.hear("ready")
            await talk.say(type="tail", id=its)
            await talk.hear("entries")
            await talk.say(type="tail", id=other)
            assert (await talk.hear("error"))["code"] == "stream_not_found"
            await talk.say(type="cancel", id=its)
            assert (await talk.hear("error"))["code"] == "insufficient_scope"
            await talk.say(type="start", request=START)
            assert (await talk.hear("error"))["code"] == "insufficient_scope"
