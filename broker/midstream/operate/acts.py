"""What an operator does about one stream of any tenant (PROTOCOL: Operate/Acts)."""

import time
from dataclasses import replace
from typing import Final

from midstream import counters
from midstream.access.grant import owner_of
from midstream.journal import audit
from midstream.lifecycle.ending import end_entry
from midstream.log.entries import INTERRUPTED, encode
from midstream.log.errors import LeaseHeld, StaleEpoch, StreamAbsent, StreamSealed, TailMismatch
from midstream.log.keys import id_of, tenant_of
from midstream.log.state import State
from midstream.log.values import Ending, Fence
from midstream.operate.act import Act, ActName, ActRefusedError, Done
from midstream.operate.operator import Operator
from midstream.operate.requeue import requeue
from midstream.requests.request import TtlError
from midstream.service import stopping

SEALED: Final = "sealed_by_operator"
"""The code in the end of a stream that an operator sealed."""
SEAL_TRIES: Final = 50
"""How often a seal is tried on a stream whose worker appends at the same moment."""


class Acts:
    """The acts of one operator. Every method raises `LogUnavailable` when Redis does not answer."""

    __slots__ = ("_operator", "_resources")

    def __init__(self, operator: Operator) -> None:
        self._operator = operator
        self._resources = operator.resources

    async def do(self, act: Act, tenant: str, stream_id: str) -> Done:
        """Do one act, and note in the audit that it was done, or why not.

        Raises:
            StreamAbsent: There is no such stream, or the operator does not reach it.
            ActRefusedError: The stream is not as the act needs it.
            TtlError: It would be kept for too long.
        """
        name = self._operator.name_of(tenant, stream_id)
        try:
            done = await self.attempt(act, name)
        except (ActRefusedError, StreamAbsent) as error:
            code = error.code if isinstance(error, ActRefusedError) else "stream_not_found"
            await self._operator.note(act.name, audit.REFUSED, tenant=tenant, stream=stream_id, reason=code)
            raise
        await self._operator.note(act.name, audit.DONE, tenant=tenant, stream=stream_id, reason=act.reason)
        return done

    async def attempt(self, act: Act, name: str) -> Done:
        """Do one act to the stream with this name, and write a line of the log, where it was done; raises as `do`."""
        resources = self._resources
        match act.name:
            case ActName.CANCEL:
                done = Done(id_of(name), await stopping.cancel(resources, name))
            case ActName.DELETE:
                await stopping.delete(resources, name)
                done = Done(id_of(name), None)
            case ActName.REQUEUE:
                done = await requeue(resources, name, pay_again=act.pay_again)
            case ActName.SEAL:
                done = Done(id_of(name), await self._seal(name, act.reason))
            case ActName.TRIM:
                done = Done(id_of(name), await self._trim(name, act.first_offset))
            case ActName.RETAIN:
                done = Done(id_of(name), await self._retain(name, act.ttl_s))
        names = self._operator.names | {"tenant": tenant_of(name), "stream": id_of(name)}
        audit.done(act.name, self._operator.asker, **names)
        return done

    async def require_live(self, name: str) -> None:
        """Do nothing while the stream has not ended.

        Raises:
            ActRefusedError: It has.
        """
        state = await stopping.present(self._resources, name)
        if state.ended:
            raise ActRefusedError("stream_ended", f"The stream has ended meanwhile: {state.outcome}.")

    async def _seal(self, name: str, reason: str) -> State:
        """End a stream as `interrupted`; by the fence of its owner, whose next append is refused (I6)."""
        for _ in range(SEAL_TRIES):
            state = await stopping.present(self._resources, name)
            if state.ended:
                break
            error = {"code": SEALED, "message": reason}
            cost = await stopping.cost_so_far(self._resources, name, state)
            end = end_entry(INTERRUPTED, state=state, now_ms=time.time_ns() // 1_000_000, error=error, cost=cost)
            ending = Ending([encode(end)], INTERRUPTED)
            try:
                await self._resources.log.seal(name, Fence(state.epoch, state.owner), state.tail, ending)
            except (LeaseHeld, StaleEpoch, TailMismatch, StreamSealed):
                continue  # its worker, or another one, was quicker
            counters.count("ends", INTERRUPTED, SEALED)
            self._resources.tracing.ended(name, state, INTERRUPTED, SEALED)
            return await stopping.present(self._resources, name)
        else:
            raise ActRefusedError("stream_busy", "The stream goes on so fast that it could not be sealed; try again.")
        raise ActRefusedError("stream_ended", f"The stream has ended: {state.outcome}.")

    async def _retain(self, name: str, ttl_s: int) -> State:
        longest_s = self._resources.settings.max_ttl_s
        if ttl_s > longest_s:
            raise TtlError(f"At most {longest_s} s (MIDSTREAM_MAX_TTL_S).")
        state = await stopping.present(self._resources, name)
        lists = sorted({state.tenant, owner_of(state.tenant, state.user)})
        await self._resources.log.retain(name, ttl_s, lists, state.thread)
        return replace(state, ttl_s=ttl_s)  # it may have expired by that

    async def _trim(self, name: str, first_offset: int | None) -> State:
        state = await stopping.present(self._resources, name)
        try:
            await self._resources.log.trim(name, first_offset or state.tail)
        except StaleEpoch:
            raise ActRefusedError("stream_not_ended", "Only the log of a stream that has ended is trimmed.") from None
        return await stopping.present(self._resources, name)
