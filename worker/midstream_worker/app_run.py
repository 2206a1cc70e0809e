"""One attempt of an app, as the app sees it: its context, made of the attempt's parts."""

import logging
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import orjson

from midstream.attempts.app_context import AppContext, UnfitStateError
from midstream.attempts.attempt import Attempt
from midstream.attempts.steps import Steps, written
from midstream.attempts.writer import Writer
from midstream.log.entries import Entry, decode
from midstream.log.keys import id_of
from midstream.log.log import Log
from midstream.log.reading import read_entries
from midstream_worker.parts import WorkerParts

logger = logging.getLogger("midstream.app")


async def context_of(
    parts: WorkerParts, attempt: Attempt, writer: Writer, is_stopped: Callable[[], bool], app: str, objects: Any
) -> AppContext:
    """Return the context of an attempt.

    Args:
        parts: The parts of this worker.
        attempt: The attempt.
        writer: Takes what it appends.
        is_stopped: Tells whether the attempt is stopped.
        app: The app's name.
        objects: What its lifespan has yielded.

    Raises:
        LogUnavailable: Redis did not answer.
    """
    state, name, settings = attempt.state, attempt.stream_id, parts.settings

    async def write(entry: Entry, *, durably: bool) -> None:
        await writer.put_through(entry, durably=durably and settings.durable_intent)

    async def keep(value: Any) -> Any:
        if not state.thread:
            raise UnfitStateError("A stream without a thread has no state that could be saved.")
        try:
            text = b"" if value is None else written(value, settings.app_state_bytes)
        except ValueError as error:
            raise UnfitStateError(f"The state of a thread {error} (MIDSTREAM_APP_STATE_BYTES).") from None
        await parts.saved.save(
            name, attempt.fence, state.user, app, state.thread, text, keep_s=settings.app_state_ttl_s
        )
        return orjson.loads(text) if text else None

    saved, idempotency_key = await parts.saved.load(name, state.user, app, state.thread)
    return AppContext(
        stream_id=id_of(name),
        tenant=state.tenant,
        user=state.user or None,
        thread=state.thread or None,
        metadata=orjson.loads(state.metadata),
        idempotency_key=idempotency_key,
        attempt=attempt.fence.epoch,
        state=orjson.loads(saved) if saved else None,
        objects=objects,
        logger=logging.LoggerAdapter(logger, {"stream": name}),
        steps=Steps(write, partial(logged, parts.log, name, state.tail), most_bytes=settings.step_bytes),
        keep=keep,
        is_stopped=is_stopped,
    )


async def logged(log: Log, stream_id: str, upto: int) -> AsyncIterator[Entry]:
    """Yield the entries of a stream up to an offset."""
    if upto > 1:  # of a first attempt there is only its `start`
        async for entry in read_entries(log, stream_id):
            if entry.offset > upto:
                return
            yield decode(entry.content, entry.offset, entry.epoch)
