"""The published keys of an identity provider, as real servers offer them, late or odd (PROTOCOL: Access/Jwt)."""

import asyncio
import gzip
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pydantic import SecretStr

from midstream.access.identity_provider import KEPT_S, READ_AGAIN_S, REFRESH_S, IdentityProvider, Provider
from midstream.access.refusals import UnauthorizedError
from midstream.settings import Settings
from tests.contract.access_calls import bearer, served

ISSUER, AUDIENCE = "https://id.example", "midstream"
SIGNER = ec.generate_private_key(ec.SECP256R1())
ROW = jwt.get_algorithm_by_name("ES256").to_jwk(SIGNER.public_key(), as_dict=True) | {"kid": "k1"}


def key_set(*rows: Any) -> bytes:
    return json.dumps({"keys": rows}).encode()


def token(kid: str = "k1", key: Any = SIGNER, algorithm: str = "ES256", **changes: Any) -> str:
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "exp": time.time() + 60} | changes
    return jwt.encode(claims, key, algorithm, {"kid": kid})


class KeySource:
    """A provider's address: what it answers, how often it was fetched, and whether it answers now."""

    def __init__(self, document: bytes = key_set(ROW)) -> None:
        self.document = document
        self.fetches = 0
        self.answers = asyncio.Event()
        self.answers.set()
        self.is_down = False

    async def fetch(self) -> bytes:
        self.fetches += 1
        await self.answers.wait()
        if self.is_down:
            raise OSError("down")
        return self.document


def provider(source: KeySource, now_s: list[float] | None = None, *algorithms: str) -> IdentityProvider:
    trusted = Provider(ISSUER, AUDIENCE, algorithms or ("ES256", "RS256", "EdDSA"))
    return IdentityProvider(trusted, source.fetch, (lambda: now_s[0]) if now_s else time.monotonic)


# -- when they are read


async def test_tokens_that_come_while_the_keys_are_read_wait_for_them() -> None:
    """Access/Jwt."""
    source = KeySource()
    source.answers.clear()
    doors = provider(source)
    storm = [asyncio.create_task(doors.grant(token(sub=f"u{number}"))) for number in range(20)]
    await asyncio.sleep(0)
    storm[0].cancel()  # its client has left: the others need the keys all the same
    await asyncio.sleep(0)
    source.answers.set()
    grants = await asyncio.gather(*storm[1:])
    assert [grant.user for grant in grants] == [f"u{number}" for number in range(1, 20)]
    assert source.fetches == 1


async def test_keys_are_read_again_beside_the_requests() -> None:
    """Access/Jwt."""
    now_s = [0.0]
    source = KeySource()
    doors = provider(source, now_s)
    await doors.grant(token())
    now_s[0] += REFRESH_S + 1
    source.answers.clear()
    async with asyncio.timeout(1):
        await doors.grant(token())
    await asyncio.sleep(0)
    assert source.fetches == 2
    source.document = key_set()
    source.answers.set()
    await asyncio.sleep(0.01)
    with pytest.raises(UnauthorizedError):  # the provider has withdrawn the key
        await doors.grant(token())


async def test_the_last_good_keys_hold_for_an_hour_after_the_provider_was_last_there() -> None:
    """Access/Jwt."""
    now_s = [0.0]
    source = KeySource()
    doors = provider(source, now_s)
    await doors.grant(token())
    source.is_down = True
    for now_s[0] in range(60, int(KEPT_S), 60):
        await doors.grant(token())
        await asyncio.sleep(0)
    now_s[0] = KEPT_S + 1
    with pytest.raises(UnauthorizedError):
        await doors.grant(token())
    source.is_down = False
    now_s[0] += READ_AGAIN_S
    await doors.grant(token())


async def test_unknown_kids_have_the_keys_read_once_in_thirty_seconds() -> None:
    """Access/Jwt."""
    now_s = [0.0]
    source = KeySource()
    doors = provider(source, now_s)
    for number in range(10):
        with pytest.raises(UnauthorizedError):
            await doors.grant(token(f"other{number}"))
    assert source.fetches == 1
    now_s[0] += READ_AGAIN_S
    source.document = key_set(ROW, ROW | {"kid": "other1"})
    assert (await doors.grant(token("other1"))).user == "ada"
    assert source.fetches == 2


# -- what they are


ODD_ROWS = (
    {"kty": "AKP", "kid": "k2", "alg": "ML-DSA-44", "pub": "AA"},
    {"kty": "OKP", "crv": "X25519", "kid": "k3", "x": "AA"},
    {"kty": "RSA", "kid": "k4", "n": 5, "e": "AQAB"},
    {"kty": "RSA", "kid": "k5", "alg": ["RS256"]},
    {"kty": ["EC"], "kid": "k6"},
    {"kid": "k7"},
    {"kty": "oct", "kid": "k8", "k": "AA"},
    ROW | {"kid": "k9", "use": "enc"},
    ROW | {"kid": 10},
    "no key",
    None,
)


async def test_keys_that_are_none_of_ours_do_not_hide_those_that_are() -> None:
    """Access/Jwt; RFC 7517, 5."""
    doors = provider(KeySource(key_set(*ODD_ROWS[:5], ROW, *ODD_ROWS[5:])))
    assert (await doors.grant(token())).user == "ada"
    for number in range(2, 11):
        with pytest.raises(UnauthorizedError):
            await doors.grant(token(f"k{number}"))


@pytest.mark.parametrize("document", [b"", b"[]", b"null", b'{"keys": 7}', b"<html>", b"\xff", b"[" * 5_000])
async def test_a_key_set_that_is_none_opens_nothing_and_is_logged(
    document: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Access/Jwt."""
    with caplog.at_level(logging.WARNING), pytest.raises(UnauthorizedError):
        await provider(KeySource(document)).grant(token())
    assert "the keys of the identity provider cannot be read" in caplog.text


async def test_a_key_without_an_algorithm_verifies_by_those_of_the_setting() -> None:
    """Access/Jwt."""
    signer = rsa.generate_private_key(65_537, 2_048)
    row = jwt.get_algorithm_by_name("RS512").to_jwk(signer.public_key(), as_dict=True) | {"kid": "r"}
    row.pop("alg", None)
    signed = token("r", signer, "RS512")
    assert (await provider(KeySource(key_set(row)), None, "RS256", "RS512").grant(signed)).user == "ada"
    for declared in ("RS256", "PS512"):
        with pytest.raises(UnauthorizedError):
            await provider(KeySource(key_set(row | {"alg": declared})), None, "RS256", "RS512", "PS512").grant(signed)
    with pytest.raises(UnauthorizedError):  # a key of another kind
        await provider(KeySource(key_set(row, ROW)), None, "RS256", "ES256").grant(token("r"))


@pytest.mark.filterwarnings("ignore:The RSA key is 1024 bits long")
async def test_a_short_key_verifies_nothing() -> None:
    """Access/Jwt; RFC 8725, 3.5."""
    signer = rsa.generate_private_key(65_537, 1_024)  # noqa: S505 - shorter than is safe
    row = jwt.get_algorithm_by_name("RS256").to_jwk(signer.public_key(), as_dict=True) | {"kid": "r"}
    with pytest.raises(UnauthorizedError):
        await provider(KeySource(key_set(row))).grant(token("r", signer, "RS256"))


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": 10**400},
        {"exp": True},
        {"sub": "\ud800"},
        {"sub": ""},
        {"sub": None},
        {"tid": "a/b"},
        {"tid": "ä"},
        {"tid": ["acme"]},
        {"scope": 7},
        {"scope": {"read": True}},
    ],
)
async def test_claims_of_wrong_types_open_nothing(settings: Settings, changes: dict[str, Any]) -> None:
    """Access/Jwt."""
    async with key_server(key_set(ROW)) as url, provided(settings, url, jwt_tenant_claim="tid") as client:
        refused = await client.get("/v1/streams", headers=bearer(token(**{"tid": "acme"} | changes)))
        assert refused.status_code == 401, refused.text
        good = await client.get("/v1/streams", headers=bearer(token(tid="acme", scope=["read", 7, None, ["x"]])))
        assert good.status_code == 200, good.text


# -- how they travel


@asynccontextmanager
async def key_server(document: bytes) -> AsyncIterator[str]:
    """Serve a key set on loopback, compressed for those who take it so, as providers' networks do."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        is_packed = "accept-encoding:" in head and "gzip" in head
        body = gzip.compress(document) if is_packed else document
        encoding = "content-encoding: gzip\r\n" if is_packed else ""
        lines = f"HTTP/1.1 200 OK\r\n{encoding}content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        writer.write(lines.encode() + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks"


@asynccontextmanager
async def provided(settings: Settings, url: str, **changes: Any) -> AsyncIterator[Any]:
    """Serve a broker that trusts the provider at this URL alone."""
    trusted = {"api_keys": SecretStr(""), "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "jwt_jwks": url}
    async with served(settings, **trusted | changes) as client:
        yield client


async def test_a_provider_that_compresses_is_understood(settings: Settings) -> None:
    """Access/Jwt."""
    async with key_server(key_set(ROW)) as url, provided(settings, url) as client:
        assert (await client.get("/v1/streams", headers=bearer(token()))).status_code == 200


async def test_a_key_set_that_is_too_large_opens_nothing(settings: Settings) -> None:
    """Access/Jwt."""
    document = key_set(ROW, {"filler": "x" * 65_536})
    async with key_server(document) as url, provided(settings, url) as client:
        assert (await client.get("/v1/streams", headers=bearer(token()))).status_code == 401


async def test_a_redirect_of_a_key_set_is_not_followed(settings: Settings) -> None:
    """Access/Jwt."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 302 Found\r\nlocation: {elsewhere}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        writer.write(head.encode())
        await writer.drain()
        writer.close()

    async with key_server(key_set(ROW)) as elsewhere, await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks"
        async with provided(settings, url) as client:
            assert (await client.get("/v1/streams", headers=bearer(token()))).status_code == 401


async def test_a_provider_that_does_not_answer_keeps_no_key_waiting(settings: Settings) -> None:
    """Access/Jwt."""
    came, may_go = asyncio.Event(), asyncio.Event()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        await may_go.wait()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks"
        async with provided(settings, url, api_keys=SecretStr("admin:acme")) as client:
            waiting = asyncio.create_task(client.get("/v1/streams", headers=bearer(token())))
            await came.wait()
            async with asyncio.timeout(2):
                assert (await client.get("/v1/streams", headers=bearer("admin"))).status_code == 200
            assert not waiting.done()
            may_go.set()
            assert (await waiting).status_code == 401
