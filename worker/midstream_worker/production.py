"""The work of one attempt: reads the source's deltas and brings them to the writer."""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncGenerator
from typing import Any, Final

from midstream import counters
from midstream.attempts.app_context import AppContext
from midstream.attempts.attempt import Attempt
from midstream.attempts.conclusion import Call
from midstream.attempts.delta import Delta, Other, SourceError, Upstream
from midstream.attempts.writer import Writer
from midstream.filters.filtering import filtering_of
from midstream.lifecycle import verdict
from midstream.lifecycle.spending import NOTHING_SPENT, Spending, spendings
from midstream.log.entries import COMPLETED, STATUS, Json
from midstream.log.errors import LogUnavailable
from midstream.log.values import Notes
from midstream.requests.request import GenerationRequest
from midstream.requests.time_limits import time_limits
from midstream_worker.app_run import context_of
from midstream_worker.beginning import Beginning, begin
from midstream_worker.call_times import CallTimes
from midstream_worker.parts import WorkerParts
from midstream_worker.sources.source import Source

logger = logging.getLogger(__name__)

LINGER_S: Final = 2.0
"""How long a source that is slow to be cancelled keeps its place in this worker after its stream has ended."""
RETRY_BASE_S: Final = 0.5
RETRY_MOST_S: Final = 30.0
UPSTREAM_CANCEL_S: Final = 5.0
RETRIES_ALLOWED: Final = {"never": (), "safe": ("safe",), "ambiguous": ("safe", "ambiguous")}
"""For each value of a request's `retry`, which failures may be tried again."""


class Production:
    """Produces one attempt's deltas, over as many upstream calls as the request allows. It begins when it is made.

    Args:
        parts: The parts of this worker.
        attempt: The attempt that the deltas belong to.
        request: What to generate.
        writer: Takes the deltas.
        unwatched_ms: How overdue a reaper's look at the stream was when it was claimed: for so long nobody had looked
            after it (Recovery/Outdated).

    Attributes:
        task: The task that produces; it ends with the source, or raises why it could not.
        has_content: Whether the source has said anything.
        limits: How long the source may take.
        spending: What is known of the cost of calls that earlier attempts made.
    """

    def __init__(
        self, parts: WorkerParts, attempt: Attempt, request: GenerationRequest, writer: Writer, unwatched_ms: int
    ) -> None:
        self._parts = parts
        self._attempt = attempt
        self._request = request
        self._writer = writer
        self._filtering = filtering_of(writer, parts.filters, request, attempt, parts.settings)
        self._put = writer.put if self._filtering is None else self._filtering.put
        self._unwatched_ms = unwatched_ms
        self.limits = time_limits(request, attempt.state.model, parts.settings)
        self._stopped = False
        self._source: Source | None = None
        self._app_context: AppContext | None = None
        self._upstream_id = attempt.state.upstream_id
        self._called = bool(attempt.state.intent)
        self._paid_calls = attempt.state.paid
        self.has_content = False
        self.spending = NOTHING_SPENT
        self.task = asyncio.create_task(self._produce(), name=f"produce {attempt.stream_id}")

    @property
    def call(self) -> Call:
        """What another worker could do about the upstream call."""
        if not self._called:
            return Call.NOT_MADE
        reattachable = self._attempt.state.policy == "reattach" and self._upstream_id
        return Call.RESUMABLE if reattachable else Call.NOT_RESUMABLE

    @property
    def is_blocked(self) -> bool:
        """Whether a filter has stopped the answer, so that the provider may be still at it."""
        return self._filtering is not None and bool(self._filtering.blocked_by)

    @property
    def failure(self) -> BaseException | None:
        """Why producing ended; None: as it should. `CancelledError`: it was stopped, or has not ended yet."""
        if self.task.cancelled() or not self.task.done():
            return asyncio.CancelledError()
        return self.task.exception()

    def stop(self) -> None:
        """Stop producing. Only the first call counts: a second cancellation would cut the source's cleanup short."""
        if not self._stopped:
            self._stopped = True
            self.task.cancel()

    async def close(self) -> None:
        """Stop producing and wait until it has ended; a source that cannot be stopped is waited for `LINGER_S`."""
        self.stop()
        if self._filtering is not None:
            await self._filtering.close(writes=False)
        await asyncio.wait((self.task,), timeout=LINGER_S)
        if self.task.done():
            self.task.cancelled() or self.task.exception()  # a look at it, or asyncio reports it as never retrieved
        else:
            self.task.cancel()
            model, stream_id = self._attempt.state.model, self._attempt.stream_id
            logger.warning(
                "%s does not stop, %g s after the end of stream %s",
                model,
                LINGER_S,
                stream_id,
                extra={"stream": stream_id},
            )

    async def end_fields(self, outcome: str) -> Json:
        """Give the writer what is left of the answer, and return what the end of the stream says besides."""
        if self._filtering is None:
            return {}
        self._writer.open_room()
        await self._filtering.close(writes=True)
        return self._filtering.end_fields if outcome == COMPLETED else {}

    async def cancel_upstream(self) -> None:
        """Ask the provider to stop a call that goes on without us (PROTOCOL: Cancel/Upstream)."""
        if self._source is None or not self._upstream_id:
            return
        try:
            async with asyncio.timeout(UPSTREAM_CANCEL_S):
                await self._source.cancel(self._upstream_id)
        except (SourceError, TimeoutError) as error:
            if isinstance(error, SourceError) and error.code == "provider_bad_request":
                return  # it has ended already
            logger.warning(
                "the upstream of %s was not cancelled: %s",
                self._attempt.stream_id,
                error,
                extra={"stream": self._attempt.stream_id},
            )

    async def _produce(self) -> None:
        settings, state = self._parts.settings, self._attempt.state
        async with asyncio.timeout(self.limits.generation_s):
            if verdict.is_outdated(self._unwatched_ms, settings):
                raise SourceError(verdict.OUTDATED, verdict.outdated_message(self._unwatched_ms))
            self._source, model = self._find_source(state.model)
            beginning = await begin(
                self._parts.log, self._attempt.stream_id, state, self._request, model, replays=self._source.replays
            )
            if beginning is None:
                raise SourceError("worker_lost", "The worker was lost, and policy forbids another call.")
            if state.intent:
                self.spending = await self._earlier_spending(makes_call=beginning.makes_call)
            for entry in beginning.entries:
                await self._writer.put(Other(entry.type, entry.data))
            if self._filtering is not None:
                self._filtering.go_on(beginning.delivered_text)
            self._writer.replay = beginning.replay
            if beginning.makes_call:
                await self._note_intent(self._source)
            elif self._source.paid:
                counters.count("paid_calls_avoided", "reattached")
            await self._read_with_retries(self._source, beginning)

    async def _earlier_spending(self, *, makes_call: bool) -> Spending:
        prices, state, name = self._parts.settings.prices, self._attempt.state, self._attempt.stream_id
        try:
            spending = (await spendings(self._parts.log, {name: state}, prices)).get(name, NOTHING_SPENT)
        except LogUnavailable:
            return NOTHING_SPENT  # a generation does not fail because nobody knows what it has cost
        return Spending(spending.cost(state.model, prices)) if makes_call else spending

    def _find_source(self, model: str) -> tuple[Source, str]:
        try:
            return self._parts.sources.get(model)
        except KeyError as error:
            raise SourceError("unknown_model", f"This worker has no provider for {model}.") from error

    async def _note_intent(self, source: Source) -> None:
        """Note that a call is about to be made, after which no other attempt makes one unless the policy allows it.

        A worker that hangs between this and the call may still make the call when it wakes, and its entries are refused
        then: what was noted here has counted the call (PROTOCOL: Intent).
        """
        self._paid_calls += int(source.paid)
        attempt = self._attempt
        note = attempt.note_durably if self._parts.settings.durable_intent else attempt.note
        spent = str(self.spending.before) if self.spending.before else None
        mark = Notes(intent=attempt.fence.epoch, paid=self._paid_calls, upstream_id="", upstream_cursor=-1, spent=spent)
        await note(mark)
        self._called, self._upstream_id = True, ""
        if source.paid:
            counters.count("paid_calls")

    async def _read_with_retries(self, source: Source, beginning: Beginning) -> None:
        tries = 1
        while True:
            try:
                await self._read(source, beginning)
            except SourceError as error:
                if not self._may_retry(error, tries):
                    await self._note_refusal(error, source)
                    raise
                await self._wait_to_retry(error, tries)
                tries += 1
            else:
                return

    async def _note_refusal(self, error: SourceError, source: Source) -> None:
        """Take the mark of the intent back, if no call for this stream can have been billed, and no step was begun."""
        is_only_call = not self._attempt.state.intent and self._paid_calls <= int(source.paid)
        if self._app_context is not None and self._app_context.steps.has_begun:
            return
        if error.is_refusal and is_only_call:
            await self._attempt.note(Notes(intent=0))

    def _may_retry(self, error: SourceError, tries: int) -> bool:
        return (
            error.retry in RETRIES_ALLOWED[self._request.retry]
            and self._writer.finish is None
            and not self.has_content
            and tries < self._parts.settings.retry_attempts
            and (error.retry_after_s or 0) <= RETRY_MOST_S
        )

    async def _wait_to_retry(self, error: SourceError, tries: int) -> None:
        delay_s = error.retry_after_s
        if delay_s is None:
            delay_s = RETRY_BASE_S * 2 ** (tries - 1) * random.uniform(0.5, 1.5)  # noqa: S311
        paid = error.retry == "ambiguous"
        self._writer.hold = False  # the call that failed brought no content, so nothing but this status is held
        status = {"state": "retrying", "reason": error.code, "paid": paid, "delay_ms": round(delay_s * 1000)}
        await self._writer.put(Other(STATUS, status))
        if paid:
            self._paid_calls += 1
            counters.count("paid_calls")
            await self._attempt.note(Notes(paid=self._paid_calls))
        await asyncio.sleep(delay_s)

    async def _read(self, source: Source, beginning: Beginning) -> None:
        """Read one upstream call to its end.

        Raises:
            SourceError: The call failed, was silent for too long, or ended without its terminal event.
        """
        self._writer.hold = not beginning.makes_call
        times = CallTimes(self._attempt.state.model, self._parts.named_models, is_call=beginning.makes_call)
        trace = self._attempt.trace.call(beginning.prompt.params, is_new=beginning.makes_call)
        try:
            with times, trace.around():
                async with contextlib.aclosing(beginning.open(source, self._context)) as deltas:
                    await self._read_deltas(deltas, times)
        finally:
            trace.end(times.report(self._writer.finish))

    async def _context(self, app: str, objects: Any) -> AppContext:
        if self._app_context is None:  # an app that is tried again has to know the steps of its first try
            self._app_context = await context_of(
                self._parts, self._attempt, self._writer, lambda: self._stopped, app, objects
            )
        return self._app_context

    async def _read_deltas(self, deltas: AsyncGenerator[Delta], times: CallTimes) -> None:
        idle_s = self.limits.idle_s
        while self._writer.finish is None:
            try:
                async with asyncio.timeout(idle_s):
                    delta = await anext(deltas)
            except StopAsyncIteration:
                raise SourceError("provider_incomplete", "The provider's stream ended without its end.") from None
            except TimeoutError:
                raise SourceError("idle_timeout", f"The source was silent for {idle_s:g} s.") from None
            if isinstance(delta, Upstream):
                times.upstream_id = delta.id
                await self._note_upstream(delta)
            else:
                self.has_content = True
                times.note(delta)
            if self._stopped:  # the source has swallowed the cancellation
                raise asyncio.CancelledError
            await self._put(delta)

    async def _note_upstream(self, upstream: Upstream) -> None:
        """Note the provider's id of an answer that another worker can read on (PROTOCOL: Intent/Upstream)."""
        if upstream.resumable and upstream.id != self._upstream_id:
            self._writer.hold = True
            await self._attempt.note(Notes(upstream_id=upstream.id))
            self._upstream_id = upstream.id
