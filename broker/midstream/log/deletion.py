"""How a stream is forgotten, with everything that leads to it (PROTOCOL: Delete/Everything)."""

from dataclasses import dataclass

from midstream.log import calls
from midstream.log.keys import Key, Keys, id_of
from midstream.log.registry import Registry
from midstream.log.scripts import Scripts, accepted
from midstream.log.state import FIELDS, Left, State


@dataclass(frozen=True, slots=True)
class Deletion:
    """Deletes streams of one log; see `Log.delete`."""

    scripts: Scripts
    keys: Keys
    registry: Registry

    async def run(self, stream_id: str, tombstone_s: int) -> None:
        """Forget a stream and what leads to it; the stream itself goes last."""
        state_key = self.keys.state(stream_id)
        names = ("pointer", "cost", "counted", "tenant", "user", "thread")
        values, fields = await self.scripts.in_order(("HMGET", state_key, *names), ("HMGET", state_key, *FIELDS))
        pointer, cost, counted, tenant, user, thread = ((value or b"").decode() for value in values)
        if cost and not counted and (state := State.parse(fields)) is not None:
            await self.registry.unwatch({stream_id: state.left})
        if pointer:
            await self.scripts.run(calls.Forget(pointer=Key(pointer), stream_id=id_of(stream_id)))
        call = calls.Delete(
            state=state_key,
            log=self.keys.log(stream_id),
            notice=self.keys.notice(stream_id),
            tombstone_ms=tombstone_s * 1000,
            channel=self.keys.channel(stream_id),
            stream_id=id_of(stream_id),
            thread=thread,
            thread_lists=self.keys.thread_lists(tenant, user, thread),
        )
        left_bytes, ended_ms, ttl_s = map(int, accepted(stream_id, await self.scripts.run(call)))
        await self.registry.unwatch_ended({stream_id: Left(-left_bytes, ended_ms, ttl_s)})
