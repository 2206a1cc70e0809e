"""How a stream is created, with everything by which it is found (PROTOCOL: Create/Atomic, Threads/Active)."""

from dataclasses import dataclass

from midstream.log import calls
from midstream.log.errors import ThreadActive, ThreadFull
from midstream.log.keys import Keys, id_of
from midstream.log.registry import INDEX_LIMIT, Registry
from midstream.log.scripts import Scripts, accepted
from midstream.log.state import NOTHING_LEFT
from midstream.log.values import NewStream


@dataclass(frozen=True, slots=True)
class Creation:
    """Creates streams of one log; see `Log.create`."""

    scripts: Scripts
    keys: Keys
    registry: Registry

    async def run(self, stream_id: str, new: NewStream, look_in_ms: int, life_s: float) -> int | None:
        """Create a stream, and plan a reaper's look at it before that."""
        (_, is_watched_anew), answer = await self.scripts.run_in_order(
            calls.Watch(due=self.keys.near(stream_id).due, delay_ms=look_in_ms, stream_id=stream_id),
            calls.Create(
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
            ),
        )
        is_off_the_list = answer[0] != b"ok" and answer[-1] in (b"ended", b"deleted")
        if is_watched_anew and (is_off_the_list or answer[0] in (b"active", b"waiting")):
            # There is none, or what is left of it was counted.
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
