"""What is done to many streams at once, in one round trip each: renewals, and a reaper's looks and verdicts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from midstream.log.errors import LogError
from midstream.log.fence import Fence
from midstream.log.keys import Keys
from midstream.log.scripts import Argument, Call, Scripts, refuse
from midstream.log.state import FIELDS, State


@dataclass(frozen=True, slots=True)
class Ending:
    """How a stream ends that nobody holds: what `Log.seal` takes, with a fence without an owner."""

    stream_id: str
    epoch: int
    tail: int
    end: bytes
    outcome: str
    ttl_s: int


class Many:
    """Raises `LogUnavailable` where Redis does not answer at all; else each stream has its own answer or error."""

    def __init__(self, scripts: Scripts, keys: Keys) -> None:
        self._scripts = scripts
        self._keys = keys

    async def states(self, stream_ids: Sequence[str]) -> list[State | LogError | None]:
        """Return the state of each, None where there is no stream."""
        rows = await self._scripts.each(*(("HMGET", self._keys.state(each), *FIELDS) for each in stream_ids))
        return [row if isinstance(row, LogError) else State.parse(row) for row in rows]

    async def renew(self, leases: Sequence[tuple[str, Fence]], lease_ms: int) -> list[bool | LogError]:
        """Renew leases; return for each what `Log.renew` would have returned or raised."""
        calls: list[Call] = [
            ("renew", [self._keys.state(stream_id)], [fence.epoch, fence.owner, lease_ms])
            for stream_id, fence in leases
        ]
        answers = await self._run([stream_id for stream_id, _ in leases], calls)
        return [answer if isinstance(answer, LogError) else bool(answer[1]) for answer in answers]

    async def release(self, lost: Sequence[tuple[str, int]]) -> list[LogError | None]:
        """Give streams (with their epochs) whose leases have run out back to the queue."""
        calls: list[Call] = [("release", [self._keys.state(each)], [epoch, ""]) for each, epoch in lost]
        return _errors(await self._run([each for each, _ in lost], calls))

    async def shorten(self, leased: Sequence[tuple[str, int]]) -> list[LogError | None]:
        """End leases (of streams with their epochs) in their usual time, that a clock set back has made longer."""
        calls: list[Call] = [("shorten", [self._keys.state(each)], [epoch]) for each, epoch in leased]
        return _errors(await self._run([each for each, _ in leased], calls))

    async def seal(self, endings: Sequence[Ending]) -> list[LogError | None]:
        """End streams that nobody holds."""
        calls: list[Call] = []
        for ending in endings:
            each = ending.stream_id
            args: list[Argument] = [ending.epoch, "", ending.tail, self._keys.channel(each)]
            args += ["", ending.outcome, ending.ttl_s * 1000, ending.end]
            calls.append(("seal", [self._keys.state(each), self._keys.log(each)], args))
        return _errors(await self._run([ending.stream_id for ending in endings], calls))

    async def _run(self, stream_ids: Sequence[str], calls: Sequence[Call]) -> list[list[Any] | LogError]:
        if not calls:
            return []
        answers = await self._scripts.run_each(*calls)
        return [_refused(each, answer) or answer for each, answer in zip(stream_ids, answers, strict=True)]


def _refused(stream_id: str, answer: list[Any] | LogError) -> LogError | None:
    """Return the error that an answer is, or that its refusal stands for."""
    if isinstance(answer, LogError):
        return answer
    try:
        if answer[0] != b"ok":
            refuse(stream_id, answer)
    except LogError as refusal:
        return refusal
    return None


def _errors(answers: Sequence[list[Any] | LogError]) -> list[LogError | None]:
    return [answer if isinstance(answer, LogError) else None for answer in answers]
