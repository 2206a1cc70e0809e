"""Tokens of an identity provider, without a server: each that must not open the door, and why (PROTOCOL: Access)."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from midstream.access.api_keys import ApiKeys
from midstream.access.grant import Scope
from midstream.access.identity_provider import READ_AGAIN_S, IdentityProvider, Provider
from midstream.access.read_tokens import ReadTokens
from midstream.access.refusals import UnauthorizedError
from midstream.access.session_tokens import SessionTokens
from midstream.access.verifier import Verifier

ISSUER, AUDIENCE_OF_IDP = "https://id.example", "midstream"
PrivateKey = Any


@pytest.fixture(scope="module")
def signing_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


class KeySet:
    """What an identity provider publishes; it counts how often it is read."""

    def __init__(self, keys: Mapping[str, PrivateKey]) -> None:
        self.keys = dict(keys)
        self.reads = 0
        self.is_down = False

    async def fetch(self) -> bytes:
        self.reads += 1
        if self.is_down:
            raise OSError("the identity provider does not answer")
        rows = []
        for kid, key in self.keys.items():
            algorithm = {ec.EllipticCurvePrivateKey: "ES256", rsa.RSAPrivateKey: "RS256"}
            name = next((name for kind, name in algorithm.items() if isinstance(key, kind)), "EdDSA")
            row = jwt.get_algorithm_by_name(name).to_jwk(key.public_key(), as_dict=True)
            rows.append(row | {"kid": kid, "use": "sig", "alg": name})
        return json.dumps({"keys": rows}).encode()


def idp_token(
    key: Any, *, algorithm: str = "ES256", kid: str | None = "k1", headers: dict[str, Any] | None = None, **changes: Any
) -> str:
    claims = {"iss": ISSUER, "aud": AUDIENCE_OF_IDP, "sub": "ada", "exp": time.time() + 60} | changes
    present = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(present, key, algorithm, headers=({"kid": kid} if kid else {}) | (headers or {}))


def provider_of(keys: KeySet, clock: Callable[[], float] = time.monotonic) -> IdentityProvider:
    return IdentityProvider(Provider(ISSUER, AUDIENCE_OF_IDP), keys.fetch, clock)


def verifier(provider: IdentityProvider | None = None) -> Verifier:
    return Verifier(ApiKeys({}), ReadTokens([b"s" * 32]), SessionTokens([b"s" * 32]), provider)


@pytest.mark.parametrize("kind", ["ES256", "RS256", "EdDSA"])
async def test_a_providers_token_names_the_user(kind: str) -> None:
    """Access/Jwt."""
    key: Any = {
        "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "RS256": lambda: rsa.generate_private_key(65_537, 2048),
        "EdDSA": ed25519.Ed25519PrivateKey.generate,
    }[kind]()
    keys = KeySet({"k1": key})
    grant = await verifier(provider=provider_of(keys)).grant(idp_token(key, algorithm=kind, scope="read openid"))
    assert (grant.tenant, grant.user, grant.scopes) == ("default", "ada", frozenset({Scope.READ}))
    assert keys.reads == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example"},
        {"iss": None},
        {"aud": "other"},
        {"aud": None},
        {"exp": None},
        {"sub": None},
        {"sub": 7},
        {"nbf": time.time() + 600},
        {"kid": None},
        {"kid": "unknown"},
        {"headers": {"crit": ["b64"], "b64": True}},
        {"scope": 7},
    ],
)
async def test_a_providers_token_that_is_not_for_us_opens_nothing(
    signing_key: ec.EllipticCurvePrivateKey, changes: dict[str, Any]
) -> None:
    with pytest.raises(UnauthorizedError):
        await verifier(provider=provider_of(KeySet({"k1": signing_key}))).grant(idp_token(signing_key, **changes))


async def test_no_token_is_verified_by_an_algorithm_that_it_chose(signing_key: ec.EllipticCurvePrivateKey) -> None:
    """An HS256 token whose secret is the published key, and one without a signature."""
    public = signing_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    doors = verifier(provider=provider_of(KeySet({"k1": signing_key})))
    _, body, signature = idp_token(signing_key).split(".")
    confused = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": "k1"}).encode()).decode().rstrip("=")
    signed = hmac.new(public, f"{confused}.{body}".encode(), hashlib.sha256).digest()
    by_public_key = base64.urlsafe_b64encode(signed).decode().rstrip("=")
    unsigned = base64.urlsafe_b64encode(json.dumps({"alg": "none", "kid": "k1"}).encode()).decode().rstrip("=")
    for token in (f"{confused}.{body}.{by_public_key}", f"{unsigned}.{body}.", f"{unsigned}.{body}.{signature}"):
        with pytest.raises(UnauthorizedError):
            await doors.grant(token)
    with pytest.raises(ValueError, match="algorithms are some of"):
        Provider(ISSUER, AUDIENCE_OF_IDP, ["HS256"])


async def test_keys_that_rotate_are_read_again_but_not_at_every_guess(signing_key: ec.EllipticCurvePrivateKey) -> None:
    now_s = [1_000.0]
    keys = KeySet({"k1": signing_key})
    doors = verifier(provider=provider_of(keys, lambda: now_s[0]))
    await doors.grant(idp_token(signing_key))
    newer = ec.generate_private_key(ec.SECP256R1())
    keys.keys = {"k2": newer}
    for _ in range(3):
        with pytest.raises(UnauthorizedError):
            await doors.grant(idp_token(newer, kid="k2"))
    assert keys.reads == 1
    now_s[0] += READ_AGAIN_S
    assert (await doors.grant(idp_token(newer, kid="k2"))).user == "ada"
    assert keys.reads == 2


async def test_a_provider_that_is_down_does_not_lock_out_who_it_signed_for(
    signing_key: ec.EllipticCurvePrivateKey,
) -> None:
    now_s = [1_000.0]
    keys = KeySet({"k1": signing_key})
    doors = verifier(provider=provider_of(keys, lambda: now_s[0]))
    await doors.grant(idp_token(signing_key))
    keys.is_down = True
    now_s[0] += 1_800
    assert (await doors.grant(idp_token(signing_key, sub="bob"))).user == "bob"
    now_s[0] += 1_900
    with pytest.raises(UnauthorizedError):
        await doors.grant(idp_token(signing_key, sub="eve"))


async def test_without_a_provider_no_foreign_token_is_valid(signing_key: ec.EllipticCurvePrivateKey) -> None:
    with pytest.raises(UnauthorizedError):
        await verifier().grant(idp_token(signing_key))


@pytest.mark.parametrize("credential", ["", "a" * 8_193, "schlüssel", ".", "..", "a.b.c", "{}", "\x00"])
async def test_what_is_no_credential_opens_nothing(credential: str) -> None:
    with pytest.raises(UnauthorizedError):
        await verifier().grant(credential)
