"""The Lua scripts and plain reads, and the one place where Redis' answers and errors become ours."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, OutOfMemoryError, RedisError, ResponseError

from midstream.log.errors import (
    IdempotencyMismatch,
    LeaseHeld,
    LogFull,
    LogUnavailable,
    StaleEpoch,
    StreamAbsent,
    StreamDeleted,
    StreamSealed,
    TailMismatch,
)

_FOLDER: Final = Path(__file__).parent / "lua"
_SOURCE = {path.stem: path.read_text() for path in sorted(_FOLDER.glob("*.lua"))}
# PROTOCOL: Seal/OOM. Only what makes a log grow is refused by a server that is out of memory.
_SOURCE["seal"] = _SOURCE["append"]
_GROWING: Final = ("append", "create")
_SOURCE = {name: source if name in _GROWING else f"#!lua flags=allow-oom\n{source}" for name, source in _SOURCE.items()}

Argument = str | bytes | int
Call = tuple[str, Sequence[str], Sequence[Argument]]
"""A script's name, its keys and its arguments."""
_PASSING: Final = ("LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS", "UNBLOCKED")


class Scripts:
    """Runs the log's scripts by name on one Redis client.

    Never retried here: whether a command whose reply was lost took effect is for the caller to find out.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._scripts = {name: redis.register_script(source) for name, source in _SOURCE.items()}

    async def run(self, name: str, keys: Sequence[str], args: Sequence[Argument]) -> list[Any]:
        """Run one script and return its answer.

        Raises:
            LogUnavailable: Redis did not answer.
            LogFull: Redis is out of memory.
        """
        try:
            answer: list[Any] = await self._scripts[name](keys=keys, args=args)
        except (RedisError, OSError) as error:
            raise _ours(error) from error
        return answer

    async def run_in_order(self, *calls: Call) -> list[list[Any]]:
        """Run scripts one behind the other in one round trip; return their answers. Raises as `run`."""
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                for name, keys, args in calls:
                    await self._scripts[name](keys=keys, args=args, client=pipe)
                answers: list[list[Any]] = await pipe.execute()
        except (RedisError, OSError) as error:
            raise _ours(error) from error
        return answers

    async def together(self, *commands: tuple[Argument, ...]) -> list[Any]:
        """Run plain commands at one moment and return their answers as they came. Raises as `run`.

        A page of a log read by a script costs four times as much: each row is made a Lua table on its way.
        """
        try:
            async with self._redis.pipeline(transaction=len(commands) > 1) as pipe:
                for name, *args in commands:
                    # Bytes: redis-py would make dicts of what a command that it knows by name has found.
                    pipe.execute_command(str(name).encode(), *args)
                answers: list[Any] = await pipe.execute()
        except (RedisError, OSError) as error:
            raise _ours(error) from error
        return answers


def _ours(error: RedisError | OSError) -> Exception:
    """Return our error for one of Redis'."""
    if isinstance(error, OutOfMemoryError) or (isinstance(error, ResponseError) and "OOM" in str(error)):
        return LogFull(str(error))
    if isinstance(error, ResponseError) and not isinstance(error, NoScriptError):
        return LogUnavailable(str(error)) if str(error).startswith(_PASSING) else error
    return LogUnavailable(str(error))


def refuse(stream_id: str, answer: list[Any], expected_tail: int = 0) -> NoReturn:
    """Raise the error that a script's refusal stands for."""
    match answer:
        case [b"absent"]:
            raise StreamAbsent(stream_id)
        case [b"sealed", outcome, epoch, owner]:
            raise StreamSealed(outcome.decode(), int(epoch), owner.decode())
        case [b"stale", current]:
            raise StaleEpoch(int(current))
        case [b"tail", actual]:
            raise TailMismatch(expected_tail, int(actual))
        case [b"leased", until_ms]:
            raise LeaseHeld(int(until_ms))
        case [b"mismatch"]:
            raise IdempotencyMismatch(stream_id)
        case [b"deleted"]:
            raise StreamDeleted(stream_id)
        case _:
            raise AssertionError(f"a script gave an answer that nobody knows: {answer!r}")
