"""The Lua scripts and plain reads, and the one place where scripts' refusals become the log's errors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import NoScriptError, RedisError

from midstream.log.errors import (
    IdempotencyMismatch,
    LeaseHeld,
    LogError,
    StaleEpoch,
    StreamAbsent,
    StreamDeleted,
    StreamSealed,
    TailMismatch,
)
from midstream.log.redis_errors import executed, ours, translated

_FOLDER: Final = Path(__file__).parent / "lua"
_SOURCE = {path.stem: path.read_text() for path in sorted(_FOLDER.glob("*.lua"))}
# PROTOCOL: Seal/OOM. Only what makes a log grow is refused by a server that is out of memory.
_SOURCE["seal"] = _SOURCE["append"]
_GROWING: Final = ("append", "create", "tried", "writable")
_SOURCE = {name: f"#!lua{'' if name in _GROWING else ' flags=allow-oom'}\n{source}" for name, source in _SOURCE.items()}

Argument = str | bytes | int
Call = tuple[str, Sequence[str], Sequence[Argument]]
"""A script's name, its keys and its arguments."""


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
            LogUnavailable: Redis did not answer, or refuses for now.
            LogFull: Redis is out of memory.
        """
        with translated:
            answer: list[Any] = await self._scripts[name](keys=keys, args=args)
        return answer

    async def run_in_order(self, *calls: Call) -> list[list[Any]]:
        """Run scripts one behind the other in one round trip; return their answers. Raises as `run`."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for name, keys, args in calls:
                await self.queue(pipe, name, keys, args)
            return await executed(pipe)

    async def queue(self, pipe: Pipeline, name: str, keys: Sequence[str], args: Sequence[Argument]) -> None:
        """Put one script into a pipeline of the caller's."""
        await self._scripts[name](keys=keys, args=args, client=pipe)

    async def run_behind(
        self, commands: Sequence[tuple[Argument, ...]], name: str, keys: Sequence[str], args: Sequence[Argument]
    ) -> tuple[list[Any], list[Any]]:
        """Run plain commands and then one script, in one round trip; return their answers and its. Raises as `run`."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for word, *further in commands:
                pipe.execute_command(str(word).encode(), *further)
            pipe.execute_command("EVALSHA", self._scripts[name].sha, len(keys), *keys, *args)
            with translated:
                *found, answer = await pipe.execute(raise_on_error=False)
        if isinstance(answer, NoScriptError):
            answer = await self.run(name, keys, args)
        for each in (*found, answer):
            if isinstance(each, RedisError):
                raise ours(each) from each
        return found, answer

    async def run_each(self, *calls: Call) -> list[list[Any] | LogError]:
        """Run scripts in one round trip; return the answer of each, or the log's error in its place.

        Raises:
            LogUnavailable: Redis did not answer at all.
        """
        async with self._redis.pipeline(transaction=False) as pipe:
            for name, keys, args in calls:
                await self.queue(pipe, name, keys, args)
            return await _each(pipe)

    async def each(self, *commands: tuple[Argument, ...]) -> list[Any]:
        """Run plain commands as `in_order`; return the answer of each, or the log's error in its place."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for name, *args in commands:
                pipe.execute_command(str(name).encode(), *args)
            return await _each(pipe)

    async def in_order(self, *commands: tuple[Argument, ...]) -> list[Any]:
        """Run plain commands in one round trip; return their answers as they came. Raises as `run`.

        A page of a log read by a script costs four times as much: each row is made a Lua table on its way.
        """
        async with self._redis.pipeline(transaction=False) as pipe:
            for name, *args in commands:
                # Bytes: redis-py would make dicts of what a command that it knows by name has found.
                pipe.execute_command(str(name).encode(), *args)
            return await executed(pipe)


async def _each(pipe: Pipeline) -> list[Any]:
    with translated:
        answers: list[Any] = await pipe.execute(raise_on_error=False)
    return [ours(answer) if isinstance(answer, RedisError) else answer for answer in answers]


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
