"""Runs the log's scripts and plain reads, and makes the log's errors of what scripts refuse."""

from collections.abc import Sequence
from typing import Any, cast

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import NoScriptError, RedisError

from midstream.log.calls import SOURCES, Argument, Call
from midstream.log.errors import (
    IdempotencyMismatch,
    LeaseHeld,
    LogError,
    NewerFormat,
    StaleEpoch,
    StreamAbsent,
    StreamDeleted,
    StreamSealed,
    TailMismatch,
)
from midstream.log.redis_errors import execute, log_error, log_errors

Command = tuple[Argument, ...]
"""A plain command: its name and its words."""


class Scripts:
    """Runs scripts on one Redis client.

    Nothing is repeated here: whether a command took effect whose reply was lost is for the caller to find out.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._execute: Any = redis.execute_command

    async def run(self, call: Call) -> list[Any]:
        """Run one script and return its answer.

        Raises:
            LogUnavailable: Redis did not answer, or refuses for now.
            LogFull: Redis is out of memory.
        """
        keys, arguments = call.words()
        answer: list[Any]
        with log_errors:
            # Not by a script of redis-py: to call one takes 5 us longer, and each client would need its own of each.
            try:
                answer = await self._execute("EVALSHA", call.script_sha, len(keys), *keys, *arguments)
            except NoScriptError:
                await self._redis.script_load(SOURCES[call.name])
                answer = await self._execute("EVALSHA", call.script_sha, len(keys), *keys, *arguments)
        return answer

    async def run_in_order(self, *calls: Call) -> list[list[Any]]:
        """Run scripts one after the other, in one round trip; return their answers. Raises as `run`."""
        answers = await self.run_each(calls)
        for answer in answers:
            if isinstance(answer, LogError):
                raise answer
        return cast("list[list[Any]]", answers)

    async def run_before(self, call: Call, *commands: Command) -> list[Any]:
        """Run a script and then plain commands on the same connection; return their answers. Raises as `run`.

        All are sent anew where the server does not know the script: they may be about this connection.
        """
        for is_loaded in (False, True):
            async with self._redis.pipeline(transaction=False) as pipe:
                self._put(pipe, call)
                _put(pipe, commands)
                with log_errors:
                    answers = await pipe.execute(raise_on_error=False)
            if is_loaded or not isinstance(answers[0], NoScriptError):
                break
            await self._load(call.name)
        for answer in answers:
            if isinstance(answer, RedisError):
                raise log_error(answer) from answer
        return answers[1:]

    async def run_after(self, commands: Sequence[Command], call: Call) -> tuple[list[Any], list[Any]]:
        """Run plain commands and then one script, in one round trip; return their answers and its. Raises as `run`."""
        async with self._redis.pipeline(transaction=False) as pipe:
            _put(pipe, commands)
            self._put(pipe, call)
            with log_errors:
                *answers, last = await pipe.execute(raise_on_error=False)
        if isinstance(last, NoScriptError):
            last = await self.run(call)
        for answer in (*answers, last):
            if isinstance(answer, RedisError):
                raise log_error(answer) from answer
        return answers, last

    async def run_each(self, calls: Sequence[Call]) -> list[list[Any] | LogError]:
        """Run scripts in one round trip; return the answer of each, or the log's error in its place.

        Raises:
            LogUnavailable: Redis did not answer at all.
        """
        answers = await self._answers(calls)
        unknown = [number for number, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:  # as after the server's restart
            await self._load(*{calls[number].name for number in unknown})
            repeated = await self._answers([calls[number] for number in unknown])
            for number, answer in zip(unknown, repeated, strict=True):
                answers[number] = answer
        return [log_error(answer) if isinstance(answer, RedisError) else answer for answer in answers]

    async def _load(self, *names: str) -> None:
        with log_errors:
            for name in names:
                await self._redis.script_load(SOURCES[name])

    async def _answers(self, calls: Sequence[Call]) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for call in calls:
                self._put(pipe, call)
            with log_errors:
                answers: list[Any] = await pipe.execute(raise_on_error=False)
        return answers

    def _put(self, pipe: Pipeline, call: Call) -> None:
        # Not as a script of redis-py, which asks the server at each pipeline whether it knows its scripts.
        keys, arguments = call.words()
        pipe.execute_command("EVALSHA", call.script_sha, len(keys), *keys, *arguments)

    async def each(self, *commands: Command) -> list[Any]:
        """Run plain commands as `in_order`; return the answer of each, or the log's error in its place."""
        async with self._redis.pipeline(transaction=False) as pipe:
            _put(pipe, commands)
            return await _each(pipe)

    async def in_order(self, *commands: Command) -> list[Any]:
        """Run plain commands in one round trip; return their answers as they came. Raises as `run`.

        Logs are read so too: a page that a script reads costs four times as much, because it makes a Lua table of each
        row.
        """
        async with self._redis.pipeline(transaction=False) as pipe:
            _put(pipe, commands)
            return await execute(pipe)


def _put(pipe: Pipeline, commands: Sequence[Command]) -> None:
    for name, *words in commands:
        # As bytes: redis-py would make a dict of the answer to a command that it knows by name.
        pipe.execute_command(str(name).encode(), *words)


async def _each(pipe: Pipeline) -> list[Any]:
    with log_errors:
        answers: list[Any] = await pipe.execute(raise_on_error=False)
    return [log_error(answer) if isinstance(answer, RedisError) else answer for answer in answers]


def accepted(stream_id: str, answer: list[Any]) -> list[Any]:
    """Return what a script answers after `ok`.

    Raises:
        LogError: The script refused the call; see `refusal`.
    """
    error = refusal(stream_id, answer)
    if error is not None:
        raise error
    return answer[1:]


def refusal(stream_id: str, answer: list[Any]) -> LogError | None:
    """Return the error that a script's refusal stands for, None where it did what it was called for."""
    match answer:
        case [b"ok", *_]:
            return None
        case [b"absent"]:
            return StreamAbsent(stream_id)
        case [b"sealed", outcome, epoch, owner]:
            return StreamSealed(outcome.decode(), int(epoch), owner.decode())
        case [b"stale", current]:
            return StaleEpoch(int(current))
        case [b"tail", expected, actual]:
            return TailMismatch(int(expected), int(actual))
        case [b"leased", until_ms]:
            return LeaseHeld(int(until_ms))
        case [b"mismatch", _]:
            return IdempotencyMismatch(stream_id)
        case [b"deleted"]:
            return StreamDeleted(stream_id)
        case [b"newer", number]:
            return NewerFormat(int(number))
    raise AssertionError(f"a script gave an unknown answer: {answer!r}")
