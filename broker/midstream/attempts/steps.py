"""Side effects that are done once, and remembered on the log (PROTOCOL: Steps)."""

import asyncio
import hashlib
import inspect
import math
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import orjson

from midstream.attempts.delta import SourceError
from midstream.log.entries import FAILED, INTERRUPTED, STEP, Entry, Json

Unknown = Literal["ask", "retry", "fail"]
"""What becomes of a step that was begun and whose result is unknown."""
UNKNOWN: Final = ("ask", "retry", "fail")
STEP_UNKNOWN: Final = "step_unknown"
STEP_FAILED: Final = "step_failed"
STEP_CODES: Final = {STEP_UNKNOWN: INTERRUPTED, STEP_FAILED: FAILED}
"""The outcome of a stream that ends by an unknown step, by its code."""
MOST_NAME_CHARS: Final = 128
KEY_CHARS: Final = 32
BEGUN: Final = "begun"
DONE: Final = "done"


class UnfitStepError(Exception):
    """A step's name, arguments or result cannot be logged; the message says why. What it was to do may be done."""


class StepUnknownError(SourceError):
    """A step was begun, and nobody knows whether it was done; its `code` is `step_unknown` or `step_failed`."""


class WriteStep(Protocol):
    """Appends a step's entry; with `durably` it returns when the entry is as safe as the mark of a paid call."""

    async def __call__(self, entry: Entry, *, durably: bool) -> None:
        """Append it."""
        ...


@dataclass(slots=True)
class Step:
    """One step while it is being done, or that was done before.

    Attributes:
        name: What the app calls it.
        key: Tells it from other steps: its name and its arguments.
        is_done: Its result is known, and it must not be done again.
        result: What it has returned, as JSON holds it.
    """

    name: str
    key: str
    is_done: bool = False
    result: Any = None


class Steps:
    """The steps of one attempt, and what earlier attempts have left of theirs.

    Args:
        write: Appends an entry.
        read: Yields the entries that earlier attempts have left.
        most_bytes: How large the arguments and the result of a step may each be, as JSON.

    Attributes:
        failure: Why the stream has to end, whatever the app does about it.
        has_begun: This attempt has begun a step, so what it was to do may be done.
    """

    def __init__(self, write: WriteStep, read: Callable[[], AsyncIterator[Entry]], *, most_bytes: int) -> None:
        self.failure: StepUnknownError | None = None
        self.has_begun = False
        self._write = write
        self._read = read
        self._most_bytes = most_bytes
        self._reading = asyncio.Lock()
        self._logged: dict[str, Json] | None = None
        self._locks: dict[str, asyncio.Lock] = {}

    async def once(self, name: str, arguments: Any, call: Callable[[], Any], *, unknown: Unknown = "ask") -> Any:
        """Return what `call` returns, or what it has returned to an earlier attempt.

        Args:
            name: What the step is called.
            arguments: What tells it from other steps of that name, as JSON.
            call: Does it. A coroutine function, or a function that does not block.
            unknown: What becomes of a step that was begun and whose result is unknown: `ask` ends the stream as
                `interrupted`, `fail` raises, `retry` does it again.

        Raises:
            UnfitStepError: The arguments or the result cannot be logged.
            StepUnknownError: Nobody knows whether the step was done.
        """
        step = await self.begin(name, arguments, unknown)
        if not step.is_done:
            try:
                made = call()
                result = await made if inspect.isawaitable(made) else made
            except BaseException:
                self.leave(step)
                raise
            await self.finish(step, result)
        return step.result

    async def begin(self, name: str, arguments: Any, unknown: Unknown = "ask") -> Step:
        """Return a step that is done, or log that it is about to be done; then `finish` or `leave` has to follow.

        Of any number of steps with the same name and arguments only one is under way; the others wait for it.
        """
        if unknown not in UNKNOWN:
            raise ValueError(f"`unknown` is one of {', '.join(UNKNOWN)}")
        fields, key = self._fields(name, arguments)
        lock = self._locks.setdefault(key, asyncio.Lock())
        step = Step(name, key)
        await lock.acquire()
        try:
            before = (await self._last_entries()).get(key)
            if before is not None and before["state"] == DONE:
                step = _done(before)
            else:
                if before is not None and unknown != "retry":
                    self._refuse(name, unknown)
                self.has_begun = True
                begun = fields | {"key": key, "state": BEGUN}
                await self._write(Entry(STEP, begun), durably=True)
                (await self._last_entries())[key] = begun
        except BaseException:
            lock.release()
            raise
        if step.is_done:
            lock.release()
        return step

    async def finish(self, step: Step, result: Any) -> None:
        """Log what a step has returned, and put it into the step as every later attempt will be given it.

        Raises:
            UnfitStepError: It cannot be logged. The log says that the step was done, so that nothing does it again.
        """
        fields: Json = {"name": step.name, "key": step.key, "state": DONE}
        try:
            try:
                fields["result"] = self._as_json(result, "result")
            except UnfitStepError as error:
                fields["unfit"] = str(error)
            # Before it is on the log: where this wait is cut short, the step is known to be done in this attempt.
            (await self._last_entries())[step.key] = fields
            await self._write(Entry(STEP, fields), durably=False)
        finally:
            self.leave(step)
        step.is_done, step.result = True, _done(fields).result

    def leave(self, step: Step) -> None:
        """Leave a step whose call has raised: nobody knows whether it was done."""
        self._locks[step.key].release()

    async def leave_soon(self, step: Step) -> None:
        """Do as `leave`, for other threads."""
        self.leave(step)

    async def _last_entries(self) -> dict[str, Json]:
        """Return the last entry of each step by its key."""
        async with self._reading:
            if self._logged is None:
                logged: dict[str, Json] = {}
                async for entry in self._read():
                    if entry.type == STEP:
                        logged[str(entry.data["key"])] = entry.data
                self._logged = logged
        return self._logged

    def _refuse(self, name: str, unknown: Unknown) -> None:
        if unknown == "fail":
            raise StepUnknownError(STEP_FAILED, f"It is unknown whether the step {name} was done.")
        self.failure = StepUnknownError(
            STEP_UNKNOWN, f"It is unknown whether the step {name} was done. Look there before it is done again."
        )
        raise self.failure

    def _fields(self, name: str, arguments: Any) -> tuple[Json, str]:
        """Return what the log holds of a step that begins, and its key."""
        if not isinstance(name, str) or not 0 < len(name) <= MOST_NAME_CHARS:
            raise UnfitStepError(f"A step's name has 1 to {MOST_NAME_CHARS} characters.")
        fields = {"name": self._as_json(name, "name"), "arguments": self._as_json(arguments, "arguments")}
        return fields, key_of(fields["name"], fields["arguments"])

    def _as_json(self, value: Any, what: str) -> Any:
        """Return a value as JSON gives it back."""
        try:
            return orjson.loads(written(value, self._most_bytes))
        except ValueError as error:
            raise UnfitStepError(f"The {what} of a step {error} (MIDSTREAM_STEP_BYTES).") from None


_JSON_ALONE: Final = (
    orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
)


def written(value: Any, most_bytes: int) -> bytes:
    """Return a value as JSON.

    Raises:
        ValueError: It is no JSON, or larger; the message is the rest of a sentence.
    """
    try:
        text = orjson.dumps(value, option=_JSON_ALONE)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"is no JSON: {error}") from None
    if not _is_finite(value):
        raise ValueError("is no JSON: it has a number that is infinite or none")
    if len(text) > most_bytes:
        raise ValueError(f"has {len(text)} bytes of JSON, and may have {most_bytes}")
    return text


def _is_finite(value: Any) -> bool:
    """Tell whether JSON has all numbers of a value; the other ones become null, and so the same step."""
    match value:
        case float():
            return math.isfinite(value)
        case dict():
            return all(map(_is_finite, value.values()))
        case list() | tuple():
            return all(map(_is_finite, value))
    return True


def key_of(name: str, arguments: Any) -> str:
    """Return what tells a step from others: a digest of its name and its arguments in any order of keys."""
    canonical = orjson.dumps([name, arguments], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(canonical).hexdigest()[:KEY_CHARS]


def once_in_thread(
    steps: Steps,
    run: Callable[[Coroutine[Any, Any, Any]], Any],
    name: str,
    arguments: Any,
    call: Callable[[], Any],
    unknown: Unknown,
) -> Any:
    """Do as `Steps.once`, with a call that blocks this thread; `run` runs a coroutine in the loop of the steps."""
    step: Step = run(steps.begin(name, arguments, unknown))
    if not step.is_done:
        try:
            result = call()
        except BaseException:
            run(steps.leave_soon(step))
            raise
        run(steps.finish(step, result))
    return step.result


def _done(fields: Json) -> Step:
    """Return the step that an entry says was done.

    Raises:
        UnfitStepError: Its result could not be logged.
    """
    if unfit := fields.get("unfit"):
        raise UnfitStepError(str(unfit))
    return Step(fields["name"], fields["key"], is_done=True, result=fields.get("result"))
