"""Credentials, without a server: each that must not open the door, and why (PROTOCOL: Access)."""

import base64
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from pydantic import ValidationError

from midstream.access.api_keys import ApiKeys, KeysFileError, digest, new_key
from midstream.access.grant import TENANT_SCOPES, Grant, Scope
from midstream.access.identity_provider import IdentityProvider
from midstream.access.ids import derived_id
from midstream.access.key_file import add_key, revoke_key, rows_of
from midstream.access.read_tokens import AUDIENCE, TYPE, ReadTokens, Subject
from midstream.access.refusals import Ending, InsufficientScopeError, TokenExpiredError, UnauthorizedError
from midstream.access.session_tokens import SessionTokens
from midstream.access.verifier import Verifier
from midstream.settings import Settings

SECRET, OTHER_SECRET = b"s" * 32, b"o" * 32
ISSUER, AUDIENCE_OF_IDP = "https://id.example", "midstream"
ONE_STREAM = Subject("acme", "ada", "s1", None)


def verifier(keys: ApiKeys | None = None, provider: IdentityProvider | None = None, **further: Any) -> Verifier:
    return Verifier(keys or ApiKeys({}), ReadTokens([SECRET]), SessionTokens([SECRET]), provider, **further)


def read_token(**changes: Any) -> str:
    """Return a read token as we sign them, with other claims."""
    claims = {"aud": AUDIENCE, "ten": "acme", "sid": "s1", "scp": ["read"], "exp": time.time() + 60} | changes
    present = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(present, SECRET, "HS256", headers={"typ": TYPE})


# -- API keys


async def test_a_key_grants_what_its_row_says() -> None:
    """Access/Keys."""
    new = new_key("backend", "acme")
    keys = ApiKeys.from_toml(
        f'[[keys]]\nname = "backend"\nsha256 = "{new.row["sha256"]}"\ntenant = "acme"\nscopes = ["read"]\n'
    )
    assert new.secret.startswith("ms_backend_")
    assert keys.grant(new.secret) == Grant(
        "acme", scopes=frozenset({Scope.READ}), credential=f"key:backend/{digest(new.secret)[:12]}"
    )
    with pytest.raises(UnauthorizedError):
        await verifier(keys).grant(new.secret[:-1])


def test_a_key_without_scopes_may_do_all_but_operate() -> None:
    grant = ApiKeys.from_pairs({"k": "acme"}).grant("k")
    assert grant is not None
    assert grant.scopes == TENANT_SCOPES
    with pytest.raises(InsufficientScopeError, match="operate"):
        grant.require(Scope.OPERATE)


ROW = f'name = "a"\nsha256 = "{digest("x")}"\ntenant = "t"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[keys]", "no TOML"),
        ("keys = 1", "nothing else"),
        ("[other]", "nothing else"),
        ("[[keys]]\n" + ROW + 'scope = ["read"]', "no field is called scope"),
        ("[[keys]]\n" + ROW + 'scopes = ["write"]', "`scopes` is a list of start, read, stop, send, operate"),
        ("[[keys]]\n" + ROW + "expires = 2027-01-31T00:00:00", "with its offset"),
        ("[[keys]]\n" + ROW.replace('"t"', '"a b"'), "`tenant` is"),
        ("[[keys]]\n" + ROW.replace('"a"', '"a_b"'), "`name` is"),
        ("[[keys]]\n" + ROW.replace(digest("x"), "abc"), "`sha256` is"),
        ("[[keys]]\n" + ROW + 'user = ""', "`user` is"),
        (f"[[keys]]\n{ROW}[[keys]]\n{ROW}", "another key has this name or hash"),
    ],
)
def test_a_key_file_that_cannot_be_used_says_where(text: str, message: str) -> None:
    with pytest.raises(KeysFileError, match=message):
        ApiKeys.from_toml(text)


async def test_an_expired_key_says_that_it_has_expired() -> None:
    keys = ApiKeys.from_toml("[[keys]]\n" + ROW + "expires = 2020-01-31T00:00:00Z")
    with pytest.raises(TokenExpiredError):
        await verifier(keys).grant("x")


async def test_a_key_that_is_gone_from_the_file_is_not_valid_any_more() -> None:
    doors = verifier(ApiKeys.from_toml("[[keys]]\n" + ROW))
    grant = await doors.grant("x")
    assert doors.ending(grant) is None
    doors.keys = ApiKeys.from_toml("[[keys]]\n" + ROW.replace(digest("x"), digest("y")))
    assert doors.ending(grant) is Ending.REVOKED, "another key under the same name"
    doors.keys = ApiKeys({})
    assert doors.ending(grant) is Ending.REVOKED


# -- read tokens


async def test_a_read_token_opens_one_stream_and_no_other() -> None:
    """Access/Read tokens."""
    tokens = ReadTokens([SECRET])
    token = tokens.mint(ONE_STREAM, frozenset({Scope.READ}), now_s=time.time(), ttl_s=60)
    grant = await verifier().grant(token)
    assert grant.covers("acme", "ada", "s1", "t1")
    for other in (("beta", "ada", "s1"), ("acme", "bob", "s1"), ("acme", "ada", "s2")):
        assert not grant.covers(*other, "t1")
    with pytest.raises(InsufficientScopeError):
        grant.require(Scope.STOP)


def test_a_read_token_of_a_thread_opens_its_streams() -> None:
    tokens = ReadTokens([SECRET])
    token = tokens.mint(Subject("acme", None, None, "t1"), frozenset({Scope.READ}), now_s=time.time(), ttl_s=60)
    grant = tokens.grant(token)
    assert grant.covers("acme", "ada", "any", "t1")
    assert not grant.covers("acme", "ada", "any", "t2")
    assert not grant.covers("acme", "ada", "any", None)


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "other"},
        {"aud": None},
        {"exp": None},
        {"ten": None},
        {"sid": None},
        {"thr": "t1"},
        {"scp": None},
        {"scp": ["operate"]},
        {"scp": ["start"]},
        {"scp": 7},
        {"nbf": time.time() + 600},
    ],
)
async def test_a_read_token_that_says_something_else_opens_nothing(changes: dict[str, Any]) -> None:
    with pytest.raises(UnauthorizedError):
        await verifier().grant(read_token(**changes))


async def test_an_expired_read_token_says_so_although_it_was_cached() -> None:
    now_s = [time.time()]
    doors = verifier(clock=lambda: now_s[0])
    token = read_token()
    grant = await doors.grant(token)
    now_s[0] += 61
    assert doors.ending(grant) is Ending.EXPIRED
    with pytest.raises(TokenExpiredError):
        await doors.grant(token)
    with pytest.raises(TokenExpiredError):
        await verifier().grant(read_token(exp=time.time() - 1))


def test_a_read_token_of_a_broker_with_a_fast_clock_is_valid_at_once() -> None:
    tokens = ReadTokens([SECRET])
    token = tokens.mint(ONE_STREAM, frozenset({Scope.READ}), now_s=time.time() + 20, ttl_s=60)
    assert tokens.grant(token).stream == "s1"


@pytest.mark.parametrize("blank", [",", " ", " , "])
@pytest.mark.parametrize("name", ["api_keys", "token_secrets"])
def test_a_list_of_secrets_that_holds_none_is_refused(name: str, blank: str) -> None:
    """Such a list of keys would open a broker that is meant to be closed."""
    with pytest.raises(ValidationError, match="lists nothing"):
        Settings.model_validate({name: blank})
    assert Settings.model_validate({name: ""}).is_open


async def test_a_forged_read_token_opens_nothing() -> None:
    forged = jwt.encode(
        jwt.decode(read_token(), options={"verify_signature": False}), OTHER_SECRET, "HS256", {"typ": TYPE}
    )
    head, body, _ = read_token().split(".")
    unsigned = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": TYPE}).encode()).decode().rstrip("=")
    for token in (forged, f"{unsigned}.{body}.", f"{head}.{body}.", f"{head}.{body}"):
        with pytest.raises(UnauthorizedError):
            await verifier().grant(token)


def test_secrets_of_read_tokens_are_replaced_in_turn() -> None:
    old = ReadTokens([SECRET]).mint(ONE_STREAM, frozenset({Scope.READ}), now_s=time.time(), ttl_s=60)
    assert ReadTokens([OTHER_SECRET, SECRET]).grant(old).stream == "s1"
    with pytest.raises(UnauthorizedError):
        ReadTokens([OTHER_SECRET]).grant(old)
    with pytest.raises(ValueError, match="32 bytes"):
        ReadTokens([b"short"])


# -- ids


def test_derived_ids_need_the_secret_and_mix_no_parts() -> None:
    """Access/Derived ids."""
    one = derived_id(SECRET, "key", "acme", "k")
    assert one == derived_id(SECRET, "key", "acme", "k")
    others = [
        derived_id(OTHER_SECRET, "key", "acme", "k"),
        derived_id(SECRET, "chat", "acme", "k"),
        derived_id(SECRET, "key", "acmek", ""),
        derived_id(SECRET, "key", "acme", "k", ""),
        derived_id(SECRET, "key", "beta", "k"),
    ]
    assert len({one, *others}) == 6
    assert len(one) == 32


def test_a_key_file_is_written_and_read_by_the_same_rules(tmp_path: Path) -> None:
    """Access/Keys."""
    path = tmp_path / "keys.toml"
    secret = add_key(path, "backend", "acme", user="ada 😀", scopes=["read", "stop"], days=1)
    add_key(path, "other", "acme", days=None)
    assert path.stat().st_mode & 0o777 == 0o600
    assert secret not in path.read_text()
    grant = ApiKeys.from_toml(path.read_text()).grant(secret)
    assert grant is not None
    assert (grant.tenant, grant.user, grant.scopes) == ("acme", "ada 😀", frozenset({Scope.READ, Scope.STOP}))
    assert grant.expires_s is not None
    assert 86_000 < grant.expires_s - time.time() < 86_401
    with pytest.raises(KeysFileError, match="another key has this name"):
        add_key(path, "backend", "acme", days=None)
    revoke_key(path, "backend")
    assert [row["name"] for row in rows_of(path)] == ["other"]
    with pytest.raises(KeysFileError, match="no key of the name"):
        revoke_key(path, "backend")
