"""How a stream is created, with everything by which it is found (PROTOCOL: Create/Atomic, Threads/Active)."""

from dataclasses import dataclass
from typing import Any

from midstream.log import calls
from midstream.log.errors import ThreadActive, ThreadFull
from midstream.log.keys import Keys, id_of
from midstream.log.registry import INDEX_LIMIT, Registry
from midstream.log.scripts import Scripts, accepted
from midstream.log.start_calls import Admit, Create, StartStream
from midstream.log.state import NOTHING_LEFT
from midstream.log.values import NewStream


@dataclass(frozen=True, slots=True)
class Creation:
    """Creates streams of one log; see `Log.create`."""

    scripts: Scripts
    keys: Keys
    registry: Registry

    async def run(self, stream_id: str, new: NewStream, look_in_ms: int, life_s: float) -> int | None:
        """Plan a reaper's look at a stream, then create it; return when it was created, None if it was there."""
        (_, is_watched_anew), answer = await self.scripts.run_in_order(
            calls.Watch(due=self.keys.near(stream_id).due, delay_ms=look_in_ms, stream_id=stream_id),
            self._create(stream_id, new, life_s),
        )
        return await self._outcome(stream_id, answer, is_watched_anew=bool(is_watched_anew))

    async def run_admitted(
        self, stream_id: str, new: NewStream, admit: Admit, look_in_ms: int, life_s: float
    ) -> tuple[list[Any], int | None]:
        """Count a start, and create its stream as `run` does; return what `admit` answers, and when it was created.

        One script does both, so that a start takes one round trip. Where a limit refuses the start, nothing is done.
        """
        call = StartStream.of(
            admit, self._create(stream_id, new, life_s), self.keys.near(stream_id).due, delay_ms=look_in_ms
        )
        match await self.scripts.run(call):
            case [admitted, is_watched_anew, answer]:
                created_ms = await self._outcome(stream_id, answer, is_watched_anew=bool(is_watched_anew))
                return admitted, created_ms
            case [refusal]:
                return refusal, None
        raise AssertionError("the script gave an unknown answer")

    def _create(self, stream_id: str, new: NewStream, life_s: float) -> Create:
        return Create(
            state=self.keys.state(stream_id),
            digest=new.digest,
            stream_id=id_of(stream_id),
            thread=new.thread,
            thread_lists=self.keys.thread_lists(new.tenant, new.user, new.thread),
            keep_ms=round((max(new.ttl_s, *new.outcome_ttls_s.values(), 0) + life_s) * 1000),
            most_listed=INDEX_LIMIT,
            if_active=new.if_active,
            most_waiting=new.most_waiting,
            **new.slip.words(),
            fields=new.fields(),
        )

    async def _outcome(self, stream_id: str, answer: list[Any], *, is_watched_anew: bool) -> int | None:
        """Return when the stream was created, None if it was there."""
        is_off_the_list = answer[0] != b"ok" and answer[-1] in (b"ended", b"deleted")
        if is_watched_anew and (is_off_the_list or answer[0] in (b"active", b"waiting")):
            # There is no new stream, so the look that was planned for it is taken back.
            await self.registry.unwatch_ended({stream_id: NOTHING_LEFT})
        match answer:
            case [b"found", _]:
                return None
            case [b"active", active_id]:
                raise ThreadActive(active_id.decode())
            case [b"waiting", number]:
                raise ThreadFull(f"{int(number)} streams wait in the thread")
        (created_ms,) = accepted(stream_id, answer)
        return int(created_ms)
