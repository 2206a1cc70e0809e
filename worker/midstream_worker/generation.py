"""One attempt from its claim to its end: deltas in, entries out, exactly one terminal entry (I3)."""

import asyncio
import contextlib
import logging
import random
from typing import Final

from pydantic import ValidationError

from midstream.lifecycle import verdict
from midstream.lifecycle.ending import end_entry
from midstream.log.entries import CANCELLED, COMPLETED, FAILED, INTERRUPTED, STATUS, Entry, encode
from midstream.log.errors import LogError, LogFull, StaleEpoch, StreamAbsent, StreamSealed
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
LINGER_S: Final = 2.0
"""How long a source that is slow to be cancelled keeps its place behind the end."""
RETRY_BASE_S: Final = 0.5
RETRY_MOST_S: Final = 30.0
UPSTREAM_CANCEL_S: Final = 5.0
INTERNAL: Final = SourceError("internal", "Something went wrong in the worker; it was logged.")


class UnreadableError(Exception):
    """The request on the log is none that this worker can read."""


class Generation:
    """Runs one attempt. `run` returns when the stream is sealed, handed over or no longer ours.

    Args:
        body: The request as it stands on the log; one that cannot be read ends the stream.
        unwatched_ms: For how long nothing had looked after the stream when it was claimed.
    """

    def __init__(
        self,
        log: Log,
        sources: Sources,
        settings: Settings,
        attempt: Attempt,
        body: bytes,
        unwatched_ms: int = 0,
    ) -> None:
        self.attempt = attempt
        self.handed_over = False
        self._log = log
        self._sources = sources
        self._settings = settings
        self._body = body
        self._unwatched_ms = unwatched_ms
        self._request: GenerationRequest
        self._stopped = ""
        self._halted = asyncio.get_running_loop().create_future()
        self._producing: asyncio.Task[None] | None = None
        self._source: Source | None = None
        self._outcome = ""
        self._upstream_id = attempt.state.upstream_id
        self._called = bool(attempt.state.intent)
        self._began = False
        self._paid = attempt.state.paid
        self._writer: Writer

    def stop(self, reason: str) -> None:
        """Stop producing: `cancelled` by a client, `lost` to another attempt, `drained` by a shutdown."""
        if not self._stopped:
            self._stopped = reason
            self._halted.set_result(None)
            if self._producing is not None:
                self._producing.cancel()

    async def run(self) -> None:
        """Produce until the end, and seal truthfully whatever happens.

        Raises:
            LogError: Not even the end could be written; the reaper will write one.
        """
        try:
            self._request = read_request(self._body)
            await self._run()
        except Lost as error:
            logger.warning("stream %s goes on without us: %s", self.attempt.stream_id, error)
        except LogError:
            raise
        except Exception:
            # Waiting for the lease to run out would tell nobody why, and a policy could pay for the same end again.
            logger.exception("stream %s cannot go on or end as it should; it ends as failed", self.attempt.stream_id)
            await self._seal_as_internal()

    async def _run(self) -> None:
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
        finally:
            self._writer.drop()
            await self._let_go(self._producing)
            # PROTOCOL: Cancel/Upstream. Only where the end is ours: others may be reading the same answer on.
            if self._outcome not in ("", COMPLETED) and self._source is not None and self._upstream_id:
                await self._cancel_upstream(self._source)

    async def _let_go(self, producing: "asyncio.Task[None]") -> None:
        """Stop what produces; a source that does not let itself be stopped keeps nobody waiting for long."""
        if not self._stopped:  # else it was cancelled, and a second time would cut its cleaning up short
            producing.cancel()
        await asyncio.wait((producing,), timeout=LINGER_S)
        if producing.done():
            producing.cancelled() or producing.exception()
        else:
            producing.cancel()
            model, stream_id = self.attempt.state.model, self.attempt.stream_id
            logger.warning("%s does not stop, %g s behind the end of stream %s", model, LINGER_S, stream_id)

    async def _conclude(self, producing: "asyncio.Task[None]") -> None:
        """Wait for the producing to end, or to be stopped, and write how it did."""
        await asyncio.wait((producing, self._halted), return_when=asyncio.FIRST_COMPLETED)
        if self._stopped and not producing.done():
            await asyncio.wait((producing,), timeout=CLOSE_S)
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
        elif self._stopped == "broken":
            await self._writer.failed  # raises what broke it
        elif not producing.done() or producing.cancelled():
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
            case SourceError(code="worker_lost" | verdict.OUTDATED):
                await self._seal(INTERRUPTED, error)
            case SourceError():
                await self._seal(FAILED, error)
            case TimeoutError():
                limit_s = self._settings.generation_timeout_s
                await self._seal(FAILED, SourceError("generation_timeout", f"It took longer than {limit_s:g} s."))
            case _:
                logger.error("stream %s failed", self.attempt.stream_id, exc_info=error)
                await self._seal(FAILED, INTERNAL)

    @property
    def _can_hand_over(self) -> bool:
        """Whether another worker can go on without a second call: never called yet, or re-attachable."""
        state = self.attempt.state
        return not self._called or (state.policy == "reattach" and bool(self._upstream_id))

    async def _produce(self) -> None:
        """Bring the source's deltas to the writer, over as many tries as the request allows."""
        async with asyncio.timeout(self._settings.generation_timeout_s):
            if verdict.is_outdated(self._unwatched_ms, self._settings):
                raise SourceError(verdict.OUTDATED, verdict.outdated_message(self._unwatched_ms))
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
        idle_s = min(self._request.idle_timeout_s or self._settings.idle_timeout_s, self._settings.longest_idle_s)
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
                    raise SourceError("idle_timeout", f"The source was silent for {idle_s:g} s.") from None
                if isinstance(delta, Upstream):
                    await self._note_upstream(delta)
                else:
                    self._began = True
                if self._stopped:  # by a source that does not let itself be cancelled
                    raise asyncio.CancelledError
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
        self._outcome = outcome

    async def _seal_as_internal(self) -> None:
        """Write an end that nothing which went wrong before has a part in."""
        state, now_ms = self.attempt.state, self.attempt.now_ms
        end = end_entry(FAILED, state=state, now_ms=now_ms, error={"code": INTERNAL.code, "message": INTERNAL.message})
        await self.attempt.seal([encode(end)], FAILED)

    def _fenced(self, flusher: "asyncio.Task[None]") -> None:
        if not flusher.cancelled() and (error := flusher.exception()) is not None:
            logger.warning("stream %s: %s", self.attempt.stream_id, error)
            self.stop("full" if isinstance(error, LogFull) else "lost" if isinstance(error, Lost) else "broken")

    async def _cancel_upstream(self, source: Source) -> None:
        try:
            async with asyncio.timeout(UPSTREAM_CANCEL_S):
                await source.cancel(self._upstream_id)
        except (SourceError, TimeoutError) as error:
            if isinstance(error, SourceError) and error.code == "provider_bad_request":
                return  # it has ended already
            logger.warning("the upstream of %s was not cancelled: %s", self.attempt.stream_id, error)


def read_request(body: bytes) -> GenerationRequest:
    """Return a request as it was accepted.

    Raises:
        UnreadableError: A broker accepted what this worker cannot read. It quotes nothing: prompts are not for logs.
    """
    try:
        return GenerationRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        raise UnreadableError(f"{first['type']} at {'.'.join(map(str, first['loc'])) or 'its root'}") from None
