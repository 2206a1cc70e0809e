"""What a cluster is sent (PROTOCOL: Log/Shards, Log/Moved)."""

import re
from dataclasses import fields
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from midstream.log import calls, import_calls, outbox_calls
from midstream.log.cluster_keys import SHARDS, ClusterKeys
from midstream.log.cluster_words import slot_of, slots_of, words_of
from midstream.log.keys import Key, Keys
from midstream.log.script_call import CALLS, SOURCES, Call
from midstream.redis_address import ClusterAddress
from midstream.settings import Settings

CALLED = re.compile(r"redis\.p?call\('([A-Z]+)'(?:, ?(?:'USAGE', ?)?([^,)]*))?")
OF_NO_KEY = ("TIME", "PUBLISH")
KEYS = ClusterKeys("ms")
QUEUE = "redis://queue"


@pytest.mark.parametrize("call", CALLS.values(), ids=lambda call: str(call.name))
def test_a_script_says_when_it_touches_keys_that_its_call_does_not_name(call: type[Call]) -> None:
    """Log/Moved: otherwise it could be stopped half-way while its slot is moved."""
    assert {calls, import_calls, outbox_calls}  # all calls are imported
    named = {field.name for field in fields(call) if field.type is Key}  # type: ignore[arg-type]
    touched = {key for command, key in CALLED.findall(SOURCES[call.name]) if command not in OF_NO_KEY}
    assert call.beside is not None or touched <= named


def evalsha(call: Call) -> tuple[Any, ...]:
    keys, arguments = call.words()
    return ("EVALSHA", call.script_sha, len(keys), *keys, *arguments)


def test_a_call_names_a_key_of_its_shard_that_never_exists() -> None:
    """Log/Moved: a node that lacks a key refuses the call before the script begins."""
    sent = words_of(evalsha(calls.Watch(due=KEYS.near("acme/x").due, delay_ms=1, stream_id="acme/x")))
    _, sha, number, due, none, *arguments = sent
    assert (number, arguments) == (2, [1, "acme/x"])
    assert none == due.replace("due", "none")
    assert sha == calls.Watch.script_sha, "it publishes nothing"
    call = outbox_calls.SettleEnd(
        prefix=KEYS.near("acme/x").prefix,
        outlet="hook",
        lane="",
        stream_id="acme/x",
        result="taken",
        tries=1,
        delay_ms=0,
        keep_ms=1,
        most_abandoned=1,
    )
    assert words_of(evalsha(call))[2:4] == (1, none)
    assert slot_of(words_of(evalsha(call))) == slot_of(sent)


def test_publications_go_to_the_channels_own_node() -> None:
    """Log/Cluster: so do those of scripts, which have other names than on one server."""
    assert words_of((b"PUBLISH", "ms:{1}:x", "y")) == (b"SPUBLISH", "ms:{1}:x", "y")
    call = calls.Cancel(state=KEYS.state("acme/x"), control=KEYS.near("acme/x").control, message="")
    assert words_of(evalsha(call))[1] != call.script_sha


def test_what_names_no_key_goes_with_what_stands_before_it() -> None:
    commands: list[tuple[Any, ...]] = [(b"TIME",), (b"GET", "{a}1"), (b"WAIT", 1, 1), (b"MEMORY", "USAGE", "{b}2")]
    a, b = slot_of((b"GET", "a")), slot_of((b"GET", "b"))
    assert slots_of(commands) == [a, a, a, b]
    assert slot_of((b"TIME",)) == slot_of((b"GET", "{0}"))


def test_all_keys_of_a_tenant_are_in_its_shard() -> None:
    """Log/Shards."""
    of_tenant = {
        *(getattr(KEYS, of)("acme/id") for of in ("state", "log", "notice", "channel")),
        *(
            getattr(KEYS, of)(owner)
            for of in ("index", "threads", "rate", "live", "saved")
            for owner in ("acme", "acme/u")
        ),
        *KEYS.thread_lists("acme", "user", "thread").split(),
        *(KEYS.places("acme"), KEYS.stored("acme"), KEYS.chat("acme/u", "c"), KEYS.staged("acme/id", "token")),
        *(KEYS.near("acme/id").due, KEYS.near("acme/id").outlets, KEYS.near("acme/id").ended),
    }
    prefix = KEYS.near("acme/id").prefix
    assert all(key.startswith(f"{prefix}:") for key in of_tenant)
    assert len({slot_of((b"GET", key)) for key in of_tenant}) == 1
    assert len({KEYS.near(f"tenant-{number}/id").prefix for number in range(500)}) == SHARDS
    own = {name for name, value in vars(Keys).items() if not name.startswith("_") and (callable(value) or value)}
    left = {
        "prefix",
        "shards",
        "near",
        "thread_lists",
        "outbox",
        "queue",
        "control",
        "due",
        "ended",
        "outlets",
        "costs",
    }
    assert own - vars(ClusterKeys).keys() - left == {"chat_prefix"}, "a key without a shard"


@pytest.mark.parametrize(
    ("url", "queue", "words"),
    [
        ("redis+cluster://a", "", ("MIDSTREAM_QUEUE_REDIS_URL", "queue", "redis+sentinel://")),
        ("redis+cluster://a", "redis+cluster://a", ("queue", "cluster", "arq")),
        ("redis+cluster://a/1", QUEUE, ("databases",)),
        ("redis+cluster://a,:1", QUEUE, ("a node without a host",)),
        ("rediss+cluster://a:x", QUEUE, ("port",)),
    ],
)
def test_a_cluster_that_cannot_work_is_refused(url: str, queue: str, words: tuple[str, ...]) -> None:
    """Log/Cluster."""
    with pytest.raises(ValidationError) as raised:
        Settings(redis_url=SecretStr(url), queue_redis_url=SecretStr(queue))
    assert all(word in str(raised.value) for word in words)


def test_each_node_is_spoken_to_as_the_url_says() -> None:
    address = ClusterAddress.of("rediss+cluster://user:p%40ss@a:1,b?ssl_ca_certs=x")
    assert address is not None
    assert address.places == (("a", 1), ("b", 6379))
    assert address.node_url("::1", 7) == "rediss://user:p%40ss@[::1]:7/0?ssl_ca_certs=x"
    assert ClusterAddress.of("redis://a") is None
