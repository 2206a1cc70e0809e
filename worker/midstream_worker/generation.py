"""One attempt from its claim to its end: deltas in, entries out, exactly one terminal entry (I3)."""

import asyncio
import contextlib
import logging
import random
from typing import Final

from midstream.lifecycle.ending import end_entry
from midstream.log.entries import CANCELLED, COMPLETED, FAILED, INTERRUPTED, STATUS, Entry
from midstream.log.errors import LogFull, StaleEpoch, StreamAbsent, StreamSealed
from midstream.log.log import Log
from midstream.requests.request import GenerationRequest
from midstream.settings import Settings
from midstream_worker.attempt import Attempt, Lost
from midstream_worker.batcher import Batcher
from midstream_worker.recover import Beginning, begin
from midstream_worker.sources.deltas import Other, SourceError, Upstream
from midstream_worker.sources.providers import Sources
from midstream_worker.sources.source import Source
from midstream_worker.writer import Writer

logger = logging.getLogger(__name__)

CLOSE_S: Final = 0.1
"""How long a stop waits for the upstream connection to close before the end is written regardless."""
RETRY_BASE_S: Final = 0.5
RETRY_MOST_S: Final = 30.0
UPSTREAM_CANCEL_S: Final = 5.0


class Generation:
    """Runs one attempt. `run` returns when the stream is sealed, handed over or no longer ours."""

    def __init__(
        self, log: Log, sources: Sources, settings: Settings, attempt: Attempt, request: GenerationRequest
    ) -> None:
        self.attempt = attempt
        self.handed_over = False
        self._log = log
        self._sources = sources
        self._settings = settings
        self._request = request
        self._stopped = ""
        self._producing: asyncio.Task[None] | None = None
        self._source: Source | None = None
        self._upstream_id = attempt.state.upstream_id
        self._called = bool(attempt.state.intent)
        self._began = False
        self._paid = attempt.state.paid
        self._writer: Writer

    def stop(self, reason: str) -> None:
        """Stop producing: `cancelled` by a client, `lost` to another attempt, `drained` by a shutdown."""
        if not self._stopped:
            self._stopped = reason
            if self._producing is not None:
                self._producing.cancel()

    async def run(self) -> None:
        """Produce until the end, and seal truthfully whatever happens."""
        settings, chunking = self._settings, self._request.chunking
        batcher = Batcher(
            settings.flush_ms if chunking.flush_ms is None else chunking.flush_ms,
            settings.flush_bytes if chunking.flush_bytes is None else chunking.flush_bytes,
        )
        self._writer = Writer(self.attempt, batcher, max_bytes=settings.max_output_bytes)
        self._writer.failed.add_done_callback(self._fenced)
        self._producing = asyncio.create_task(self._produce(), name=f"produce {self.attempt.stream_id}")
        if self._stopped:
            self._producing.cancel()
        try:
            await self._conclude(self._producing)
        except Lost as error:
            logger.warning("stream %s goes on without us: %s", self.attempt.stream_id, error)
        finally:
            self._producing.cancel()
            await asyncio.gather(self._producing, return_exceptions=True)
            self._writer.drop()
            if self._stopped == "cancelled" and self._source is not None and self._upstream_id:
                await self._cancel_upstream(self._source)

    async def _conclude(self, producing: "asyncio.Task[None]") -> None:
        """Wait for the producing to end, and write how it did."""
        await asyncio.wait([producing])
        if self._stopped and not producing.done():
            await asyncio.wait([producing], timeout=CLOSE_S)
        if self._stopped == "lost":
            return
        if self._stopped == "cancelled":
            await self._seal(CANCELLED)
        elif self._stopped == "drained" and self._can_hand_over:
            await self._writer.close()
            await self.attempt.release()
            self.handed_over = True
        elif self._stopped == "full":
            await self._seal(FAILED, SourceError("log_full", "The server is out of memory; the answer so far is kept."))
        elif producing.cancelled():
            await self._seal(
                INTERRUPTED, SourceError("worker_lost", "The worker was stopped; the answer so far is kept.")
            )
        else:
            await self._conclude_with(producing.exception())

    async def _conclude_with(self, error: BaseException | None) -> None:
        match error:
            case StaleEpoch() | StreamSealed() | StreamAbsent():
                raise error
            case None:
                await self._seal(COMPLETED)
            case SourceError(code="worker_lost"):
                await self._seal(INTERRUPTED, error)
            case SourceError():
                await self._seal(FAILED, error)
            case TimeoutError():
                limit_s = self._settings.generation_timeout_s
                await self._seal(FAILED, SourceError("generation_timeout", f"It took longer than {limit_s:g} s."))
            case _:
                logger.error("stream %s failed", self.attempt.stream_id, exc_info=error)
                await self._seal(FAILED, SourceError("internal", "Something went wrong in the worker; it was logged."))

    @property
    def _can_hand_over(self) -> bool:
        """Whether another worker can go on without a second call: never called yet, or re-attachable."""
        state = self.attempt.state
        return not self._called or (state.policy == "reattach" and bool(self._upstream_id))

    async def _produce(self) -> None:
        """Bring the source's deltas to the writer, over as many tries as the request allows."""
        async with asyncio.timeout(self._settings.generation_timeout_s):
            state = self.attempt.state
            self._source, name = self._find_source(state.model)
            beginning = await begin(self._log, self.attempt.stream_id, state, self._request, name)
            if beginning is None:
                raise SourceError("worker_lost", "The worker was lost, and policy forbids another call.")
            for entry in beginning.entries:
                await self._writer.put(Other(entry.type, entry.data))
            if beginning.calls:
                # PROTOCOL: Intent. From here on nobody runs this stream again unless its policy says so.
                self._paid += int(self._source.paid)
                intent = self.attempt.fence.epoch
                note = self.attempt.note_durably if self._settings.durable_intent else self.attempt.note
                await note(intent=intent, paid=self._paid, upstream_id="", upstream_cursor=-1)
                self._called, self._upstream_id = True, ""
            await self._try(self._source, beginning)

    def _find_source(self, model: str) -> tuple[Source, str]:
        try:
            return self._sources.get(model)
        except KeyError as error:
            raise SourceError("unknown_model", f"This worker has no provider for {model}.") from error

    async def _try(self, source: Source, beginning: Beginning) -> None:
        tries = 1
        while True:
            try:
                await self._read(source, beginning)
            except SourceError as error:
                if not self._may_retry(error, tries):
                    raise
                delay_s = error.retry_after_s
                if delay_s is None:
                    delay_s = RETRY_BASE_S * 2 ** (tries - 1) * random.uniform(0.5, 1.5)  # noqa: S311
                paid = error.retry == "ambiguous"
                status = {"state": "retrying", "reason": error.code, "paid": paid, "delay_ms": round(delay_s * 1000)}
                await self._writer.put(Other(STATUS, status))
                if paid:
                    self._paid += 1
                    await self.attempt.note(paid=self._paid)
                await asyncio.sleep(delay_s)
                tries += 1
            else:
                return

    def _may_retry(self, error: SourceError, tries: int) -> bool:
        allowed = {"never": (), "safe": ("safe",), "ambiguous": ("safe", "ambiguous")}[self._request.retry]
        return (
            error.retry in allowed
            and self._writer.finish is None
            and not self._began
            and tries < self._settings.retry_attempts
            and (error.retry_after_s or 0) <= RETRY_MOST_S
        )

    async def _read(self, source: Source, beginning: Beginning) -> None:
        """Read one upstream call to its end.

        Raises:
            SourceError: It failed, fell silent, or ended without its terminal event.
        """
        idle_s = self._settings.idle_timeout_s
        deltas = beginning.open(source)
        self._began = False
        async with contextlib.aclosing(deltas):
            while self._writer.finish is None:
                try:
                    async with asyncio.timeout(idle_s):
                        delta = await anext(deltas)
                except StopAsyncIteration:
                    raise SourceError("provider_incomplete", "The provider's stream ended without its end.") from None
                except TimeoutError:
                    raise SourceError("idle_timeout", f"The provider was silent for {idle_s:g} s.") from None
                if isinstance(delta, Upstream):
                    await self._note_upstream(delta)
                else:
                    self._began = True
                await self._writer.put(delta)

    async def _note_upstream(self, upstream: Upstream) -> None:
        """PROTOCOL: Intent/Upstream."""
        if upstream.resumable and upstream.id != self._upstream_id:
            self._writer.hold = True
            await self.attempt.note(upstream_id=upstream.id)
            self._upstream_id = upstream.id

    async def _seal(self, outcome: str, error: SourceError | None = None) -> None:
        writer, attempt = self._writer, self.attempt
        end: Entry = end_entry(
            outcome,
            state=attempt.state,
            now_ms=attempt.now_ms,
            finish_reason=writer.finish,
            error={"code": error.code, "message": error.message} if error else None,
            usage=writer.usage,
            first_ms=writer.first_ms,
        )
        await writer.end(end, outcome)

    def _fenced(self, flusher: "asyncio.Task[None]") -> None:
        if not flusher.cancelled() and flusher.exception() is not None:
            logger.warning("stream %s: %s", self.attempt.stream_id, flusher.exception())
            self.stop("full" if isinstance(flusher.exception(), LogFull) else "lost")

    async def _cancel_upstream(self, source: Source) -> None:
        try:
            async with asyncio.timeout(UPSTREAM_CANCEL_S):
                await source.cancel(self._upstream_id)
        except (SourceError, TimeoutError) as error:
            logger.warning("the upstream of %s was not cancelled: %s", self.attempt.stream_id, error)
