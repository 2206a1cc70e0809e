"""Queues a stream again for an operator, and pays nothing twice that nobody has ordered (PROTOCOL: Operate/Requeue)."""

import asyncio
import hashlib

from midstream.access.grant import owner_of
from midstream.access.ids import derived_id
from midstream.lifecycle.verdict import OUTDATED, look_again_ms
from midstream.log.entries import FAILED, INTERRUPTED
from midstream.log.keys import id_of, stream_name
from midstream.log.state import EXTERNAL, State
from midstream.log.values import NewStream
from midstream.operate.act import ActRefusedError, Done
from midstream.service.resources import Resources
from midstream.service.stopping import present


async def requeue(resources: Resources, name: str, *, pay_again: bool) -> Done:
    """Write the slip of a queued stream again, or begin a stream with the request of one that failed.

    A stream that has ended stays as it is (I3). The same act on it finds the stream that the first one began.

    Raises:
        ActRefusedError: No worker can run it, it runs, it ended as it should, or the call would be paid a second time.
        StreamAbsent: There is no such stream.
        LogUnavailable: Redis did not answer.
    """
    state = await present(resources, name)
    if state.policy == EXTERNAL:
        raise ActRefusedError("external_producer", "It was produced by a program of its own, and no worker can run it.")
    if state.status == "queued":
        await resources.slips.write(name, state.epoch)
        return Done(id_of(name), state)
    if state.status == "running":
        raise ActRefusedError("stream_running", "A worker holds the stream, or a reaper is about to decide about it.")
    if state.outcome not in (FAILED, INTERRUPTED):
        raise ActRefusedError("stream_ended", f"The stream has ended: {state.outcome}.")
    reads_on = state.policy == "reattach" and bool(state.upstream_id) and not pay_again
    if not (pay_again or reads_on) and _may_have_been_paid(state):
        raise ActRefusedError("would_pay_again", "The call may have been paid: order `pay_again` to make another one.")
    with resources.tracing.start(b"") as trace:
        done = await _begin(resources, name, state, state.upstream_id if reads_on else "", trace.context)
        if done.state is not None:
            trace.began(stream_name(state.tenant, done.stream_id), done.state, is_new=done.is_new, linked=state.trace)
    return done


def _may_have_been_paid(state: State) -> bool:
    # The log of an outdated one may be a copy of one that was run elsewhere. An older version's end has no code.
    return bool(state.intent) or state.code in ("", OUTDATED)


async def _begin(resources: Resources, name: str, old: State, upstream_id: str, trace: str) -> Done:
    """Begin a stream with the request of `old`; one with an upstream's id reads that answer on, which costs nothing."""
    settings, log = resources.settings, resources.log
    stream_id = derived_id(resources.secret.value, "requeue", name)
    new_name = stream_name(old.tenant, stream_id)
    new = NewStream(
        digest=hashlib.sha256(f"requeue\0{name}".encode()).hexdigest(),
        tenant=old.tenant,
        user=old.user,
        model=old.model,
        policy=old.policy,
        thread=old.thread,
        metadata=old.metadata,
        ttl_s=old.ttl_s,
        request=await log.request(name),
        origin=await log.origin(name),
        upstream_id=upstream_id,
        trace=trace,
    )
    created_ms = await log.create(new_name, new, look_in_ms=look_again_ms(settings), life_s=settings.longest_life_s)
    state = new.as_state(created_ms) if created_ms is not None else await present(resources, new_name)
    owners = {old.tenant, owner_of(old.tenant, old.user)}
    keep_s = max(old.ttl_s, settings.retention_s)
    # Also where the stream was there: the process that created it may have died before this.
    await asyncio.gather(
        *(resources.registry.add(owner, stream_id, state.created_ms, keep_s=keep_s) for owner in owners),
        *([resources.slips.write(new_name, state.epoch)] if state.status == "queued" else []),
    )
    return Done(stream_id, state, is_new=created_ms is not None)
