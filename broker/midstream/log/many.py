"""What is done to many streams at once, in one round trip each: renewals, and a reaper's looks and verdicts."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from midstream.log import calls
from midstream.log.entries import Stored, stored_rows
from midstream.log.errors import LogError
from midstream.log.keys import Keys, id_of, stream_name
from midstream.log.registry import Registry
from midstream.log.scripts import Command, Scripts, refusal
from midstream.log.state import FIELDS, Left, State, state_or_error
from midstream.log.values import Ending, Fence

PAGE: Final = 500
"""Statuses that are read in one round trip: this process does nothing else meanwhile."""
Errors = dict[str, LogError | None]
"""For each stream why it was refused, None where it was done."""


class Extent(NamedTuple):
    """How far a stream's log goes: two that are equal hold the same entries, as long as the server loses none."""

    epoch: int
    first: int
    tail: int


class Many:
    """Raises `LogUnavailable` where Redis does not answer at all; else each stream has its own answer or error."""

    def __init__(self, scripts: Scripts, keys: Keys, registry: Registry) -> None:
        self._scripts = scripts
        self._keys = keys
        self._registry = registry

    async def states(self, stream_ids: Sequence[str]) -> list[State | LogError | None]:
        """Return the state of each, None where there is no stream."""
        rows = await self._scripts.each(*(("HMGET", self._keys.state(each), *FIELDS) for each in stream_ids))
        return [row if isinstance(row, LogError) else state_or_error(row) for row in rows]

    async def statuses(self, stream_ids: Sequence[str]) -> list[str | None]:
        """Return the status of each, None where there is no stream or it cannot be read."""
        statuses: list[str | None] = []
        for start in range(0, len(stream_ids), PAGE):
            page = stream_ids[start : start + PAGE]
            rows = await self._scripts.each(*(("HGET", self._keys.state(each), "status") for each in page))
            statuses += [None if row is None or isinstance(row, LogError) else row.decode() for row in rows]
        return statuses

    async def extents(self, stream_ids: Sequence[str]) -> list[Extent | LogError | None]:
        """Return how far the log of each goes, None where there is no stream. It is read faster than a state."""
        rows = await self._scripts.each(*(("HMGET", self._keys.state(each), *Extent._fields) for each in stream_ids))
        return [row if isinstance(row, LogError) else _extent(row) for row in rows]

    async def last_entries(
        self, stream_ids: Sequence[str], field: str, limit: int
    ) -> list[tuple[bytes | None, list[Stored]] | LogError]:
        """Return a field of the state of each, and up to `limit` entries at the end of its log, in order."""
        commands: list[Command] = []
        for each in stream_ids:
            commands.append(("HGET", self._keys.state(each), field))
            commands.append(("XREVRANGE", self._keys.log(each), "+", "-", "COUNT", limit))
        answers = await self._scripts.each(*commands)
        return [
            next((each for each in pair if isinstance(each, LogError)), None) or (pair[0], stored_rows(pair[1])[::-1])
            for pair in zip(answers[::2], answers[1::2], strict=True)
        ]

    async def renew(self, leases: Sequence[tuple[str, Fence]], lease_ms: int) -> list[bool | LogError]:
        """Renew leases; return for each what `Log.renew` would have returned or raised."""
        answers = await self._run(
            [stream_id for stream_id, _ in leases],
            [
                calls.Renew(
                    state=self._keys.state(stream_id),
                    epoch=fence.epoch,
                    owner=fence.owner,
                    lease_ms=lease_ms,
                    notes=(),
                )
                for stream_id, fence in leases
            ],
        )
        return [answer if isinstance(answer, LogError) else bool(answer[1]) for answer in answers]

    async def release(self, epochs: Mapping[str, int]) -> Errors:
        """Give streams, at these epochs, back to the queue, because their leases have run out."""
        return await self._run_on(
            {each: calls.Release(state=self._keys.state(each), epoch=epoch, owner="") for each, epoch in epochs.items()}
        )

    async def let_start(self, waiting: Mapping[str, State]) -> dict[str, list[str] | LogError]:
        """Let streams start that wait in their threads; return for each the names of those that it still waits for."""
        each = [
            calls.LetStart(
                state=self._keys.state(name),
                stream_id=id_of(name),
                # Two keys for each of tenant and user: the user's streams of the thread are the last key but one.
                streams=self._keys.thread_lists(state.tenant, state.user, state.thread).split()[-2],
            )
            for name, state in waiting.items()
        ]
        answers = await self._run([*waiting], each)
        return {
            name: answer
            if isinstance(answer, LogError)
            else [stream_name(state.tenant, active.decode()) for active in answer[1:]]
            for (name, state), answer in zip(waiting.items(), answers, strict=True)
        }

    async def shorten(self, epochs: Mapping[str, int]) -> Errors:
        """End the leases of streams, at these epochs, in their usual time: a clock set back has made them longer."""
        return await self._run_on(
            {each: calls.Shorten(state=self._keys.state(each), epoch=epoch) for each, epoch in epochs.items()}
        )

    async def seal(self, endings: Mapping[str, tuple[State, Ending]]) -> Errors:
        """End streams that nobody holds, if they are still as these states say."""
        answers = await self._run(
            [*endings],
            [
                calls.Seal(
                    state=self._keys.state(each),
                    log=self._keys.log(each),
                    epoch=state.epoch,
                    owner="",
                    expected_tail=state.tail,
                    channel=self._keys.channel(each),
                    outcome=ending.outcome,
                    code=ending.code,
                    cost=ending.cost,
                    entries=ending.contents,
                )
                for each, (state, ending) in endings.items()
            ],
        )
        errors: Errors = {}
        left: dict[str, Left] = {}
        for each, answer in zip(endings, answers, strict=True):
            errors[each] = answer if isinstance(answer, LogError) else None
            if not isinstance(answer, LogError):
                left[each] = Left(*map(int, answer[2:]))
        await self._registry.unwatch_ended(left)
        return errors

    async def _run_on(self, call_of: Mapping[str, calls.Call]) -> Errors:
        answers = await self._run([*call_of], [*call_of.values()])
        return {
            each: answer if isinstance(answer, LogError) else None
            for each, answer in zip(call_of, answers, strict=True)
        }

    async def _run(self, stream_ids: Sequence[str], each: Sequence[calls.Call]) -> list[list[Any] | LogError]:
        if not each:
            return []
        answers = await self._scripts.run_each(each)
        return [
            answer if isinstance(answer, LogError) else refusal(stream_id, answer) or answer
            for stream_id, answer in zip(stream_ids, answers, strict=True)
        ]


def _extent(values: list[bytes | None]) -> Extent | None:
    return Extent(*map(int, values)) if None not in values else None  # type: ignore[arg-type]  # a tombstone has no tail
