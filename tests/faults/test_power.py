"""A power loss takes what was not made sure of, and only that: the family of power losses stands on it."""

from pathlib import Path

import pytest
from redis import Redis

from tests.faults.power import MainsServer, available
from tests.servers import SERVER_KINDS

pytestmark = pytest.mark.skipif(bool(available()), reason=available())


@pytest.mark.parametrize("kind", SERVER_KINDS)
@pytest.mark.parametrize(("appendfsync", "left"), [("always", b"1"), ("no", None)])
def test_what_no_fsync_has_seen_is_gone(tmp_path: Path, kind: str, appendfsync: str, left: bytes | None) -> None:
    with MainsServer(tmp_path, SERVER_KINDS[kind], appendfsync) as server, Redis(port=server.port) as redis:
        redis.set("key", 1, ex=60)
        lost = server.lose_power()
        server.start()
        assert redis.get("key") == left
    assert bool(lost) == (left is None)


@pytest.mark.parametrize("kind", SERVER_KINDS)
def test_a_file_that_was_rewritten_keeps_what_was_made_sure_of(tmp_path: Path, kind: str) -> None:
    with MainsServer(tmp_path, SERVER_KINDS[kind], "always") as server, Redis(port=server.port) as redis:
        redis.set("key", 1, ex=60)
        redis.bgrewriteaof()
        redis.set("other", 2, ex=60)
        while redis.info("persistence")["aof_rewrite_in_progress"]:
            redis.set("other", 2, ex=60)
        server.lose_power()
        server.start()
        assert redis.mget("key", "other") == [b"1", b"2"]
