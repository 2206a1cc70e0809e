"""When readers are looked at whose credential can end: by one timer, and by none where nothing ends.

Access/Ending.
"""

import asyncio
import time
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from midstream.access.api_keys import digest
from midstream.access.grant import Grant
from midstream.service import grant_ends
from midstream.service.credentials import Credentials
from midstream.service.grant_ends import GrantEnds
from midstream.service.shared_secret import SharedSecret
from midstream.settings import Settings

SECRET = b"s" * 32
FOREVER = Grant("acme", credential="key:setting/0")


class Reader:
    def __init__(self, grant: Grant | None) -> None:
        self.grant = grant
        self.reasons: list[str] = []
        self.refused_s = 0.0
        self.refused = asyncio.Event()

    def refuse(self, reason: str) -> None:
        self.reasons.append(reason)
        self.refused_s = time.time()
        self.refused.set()


def ending_in(seconds: float, credential: str = "read token") -> Grant:
    return Grant("acme", credential=credential, expires_s=time.time() + seconds)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grant_ends, "AT_LEAST_S", 0.01)


def ends_of(*readers: Reader, keys_file: Path | None = None) -> GrantEnds:
    settings = Settings(api_keys=SecretStr("k:acme"), keys_file=keys_file)
    return GrantEnds(Credentials(settings, SharedSecret(Redis(), "ms", SECRET)), lambda: readers)


async def test_a_credential_without_an_end_costs_nothing() -> None:
    ends = ends_of()
    assert ends.watched(FOREVER) is None
    assert ends._timer is None


async def test_each_reader_is_refused_at_its_own_end_and_no_other() -> None:
    first, second, late = Reader(ending_in(0.05)), Reader(ending_in(0.1)), Reader(ending_in(600))
    unwatched = Reader(None)
    ends = ends_of(late, second, first, unwatched)
    for reader in (late, second, first):
        assert reader.grant is not None
        assert ends.watched(reader.grant) is reader.grant
    async with asyncio.timeout(5):
        await first.refused.wait()
        await second.refused.wait()
    for reader in (first, second):
        assert reader.grant is not None
        assert reader.grant.expires_s is not None
        assert reader.refused_s >= reader.grant.expires_s
    assert (first.reasons[0], second.reasons) == ("token_expired", ["token_expired"])
    assert late.reasons == unwatched.reasons == []
    ends.stop()


async def test_a_reader_that_cannot_be_told_keeps_no_other_from_it() -> None:
    class Broken(Reader):
        def refuse(self, reason: str) -> None:
            super().refuse(reason)
            raise RuntimeError

    grant = ending_in(0.02)
    broken, other = Broken(grant), Reader(grant)
    ends = ends_of(broken, other)
    ends.watched(grant)
    async with asyncio.timeout(5):
        await other.refused.wait()
    assert broken.reasons == ["token_expired"]


async def test_a_key_that_left_the_file_ends_its_readers_when_the_file_was_read(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(f'[[keys]]\nname = "one"\nsha256 = "{digest("one")}"\ntenant = "acme"\n')
    ends = ends_of(keys_file=path)
    grant = await ends.credentials.grant("one")
    socket, gone = Reader(ends.watched(grant)), Reader(ends.watched(grant))
    assert socket.grant is grant
    assert ends._timer is None, "a key without an end needs no timer"
    ends.add(socket)
    ends.add(gone)
    ends.remove(gone)
    ends.credentials.on_change()
    assert socket.reasons == []
    path.write_text("")
    ends.credentials._verifier.keys = ends.credentials._from_file()
    ends.credentials.on_change()
    assert (socket.reasons, gone.reasons) == (["credential_revoked"], [])
