"""PROTOCOL: Log/Refusals: the table of what a server can answer, by redis-py's own parser and its wrappers."""

import pytest
from redis import exceptions
from redis._parsers.base import BaseParser
from redis.asyncio.client import Pipeline

from midstream.log.errors import LogFull, LogUnavailable
from midstream.log.redis_errors import MEANING, code_of, log_error, log_errors, text_of

# redis-py has one class for the two, and takes the code off
SAME = {"WRONGPASS": "NOAUTH"}


def parsed(reply: str) -> exceptions.RedisError:
    """Return what redis-py makes of an error reply."""
    error: exceptions.RedisError = BaseParser.parse_error(reply)  # type: ignore[no-untyped-call]
    return error


def in_a_pipeline(error: Exception) -> Exception:
    pipe = Pipeline(None, {}, transaction=True, shard_hint=None)  # type: ignore[arg-type]
    pipe.annotate_exception(error, 1, ("SET", "key", "a prompt of pipeline caused error: ('OOM',)"))
    return error


@pytest.mark.parametrize("code", [*MEANING, "NEWCODE"])
def test_every_code_is_known_again(code: str) -> None:
    reply = f"{code} some words about it."
    expected = SAME.get(code, "ERR" if code == "EXECABORT" else code)
    expected = "EXECABORT" if code == "EXECABORT" else expected
    for error in (parsed(reply), in_a_pipeline(parsed(reply))):
        assert code_of(error) == expected
        assert text_of(error).endswith("some words about it.")
        assert isinstance(log_error(error), LogFull) == (code == "OOM")
        assert log_error(error).code == expected


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (
            "EXECABORT Transaction discarded because of: READONLY You can't write against a read only replica.",
            "READONLY",
        ),
        ("EXECABORT Transaction discarded because of: OOM command not allowed", "OOM"),
        ("EXECABORT Transaction discarded because of previous errors.", "EXECABORT"),
        ("ERR unknown command 'WAITAOF', with args beginning with: '1'", "ERR"),
        ("ERR max number of clients reached", ""),  # a ConnectionError of redis-py's
        ("-BUSY Valkey is busy running a script.", "BUSY"),
        ("words alone", "ERR"),
    ],
)
def test_what_a_reply_wraps_is_found(reply: str, code: str) -> None:
    assert code_of(parsed(reply)) == code
    assert log_error(parsed(reply)).code == code


def test_causes_are_walked() -> None:
    outer = exceptions.ConnectionError("could not connect")
    outer.__cause__ = parsed("LOADING Redis is loading the dataset in memory")
    assert code_of(outer) == "LOADING"


@pytest.mark.parametrize(
    "error",
    [
        exceptions.ConnectionError("closed"),
        exceptions.TimeoutError("no reply"),
        exceptions.MaxConnectionsError("too many"),
        exceptions.InvalidResponse("no protocol"),
        exceptions.WatchError("watched"),
        exceptions.RedisClusterException("a cluster"),
        ConnectionResetError("reset"),
        TimeoutError(),
    ],
)
def test_silence_is_waited_out(error: Exception) -> None:
    with pytest.raises(LogUnavailable) as raised, log_errors:
        raise error
    assert raised.value.code == ""
    assert str(raised.value)


@pytest.mark.parametrize("error", [exceptions.DataError("a list"), KeyError("ours")])
def test_a_bug_of_ours_stays_one(error: Exception) -> None:
    with pytest.raises(type(error)), log_errors:
        raise error


def test_a_prompt_never_reaches_a_message() -> None:
    assert "prompt" not in str(log_error(in_a_pipeline(parsed("MISCONF cannot save."))))
