"""Runs an attempt that was claimed until it ends: deltas in, entries out, exactly one terminal entry (I3).

`Producers.take` claims the attempt and makes its `Generation`, which brings together a `Production` (reads the
source), a `Writer` (batches) and the `Attempt` (writes to the log).
"""

import asyncio
import logging
import time
from typing import Any, Final

from pydantic import ValidationError

from midstream import counters
from midstream.attempts.attempt import Attempt, Lost
from midstream.attempts.attempt_end import last_entry
from midstream.attempts.conclusion import INTERNAL, Call, Conclusion, Leave, Release, Stop, conclude, stop_of
from midstream.attempts.writer import Writer
from midstream.filters.new_writer import new_writer
from midstream.lifecycle.spending import NOTHING_SPENT, Spending
from midstream.lifecycle.verdict import Seal
from midstream.log.entries import COMPLETED, encode
from midstream.log.errors import LogError
from midstream.requests.request import GenerationRequest
from midstream_worker.parts import WorkerParts
from midstream_worker.production import Production

logger = logging.getLogger(__name__)

CLOSE_S: Final = 0.1
"""How long a stop waits for the upstream connection to close before the end is written regardless."""


STATES: Final = ("starting", "waiting", "streaming", "ending")
"""What a generation may be doing: nothing was asked for yet, nothing has come yet, deltas come, its end is written."""


class UnreadableError(Exception):
    """The request on the log cannot be read by this worker."""


class Generation:
    """Runs one attempt and writes how it ended.

    Args:
        parts: The parts of this worker.
        attempt: The claimed attempt.
        body: The request as it stands on the log; one that cannot be read ends the stream.
        unwatched_ms: How overdue a reaper's look at the stream was when it was claimed: for so long nobody had looked
            after it (Recovery/Outdated).
    """

    def __init__(self, parts: WorkerParts, attempt: Attempt, body: bytes, unwatched_ms: int = 0) -> None:
        self.attempt = attempt
        self._parts = parts
        self._body = body
        self._unwatched_ms = unwatched_ms
        self._stop: Stop | None = None
        self._stopped = asyncio.get_running_loop().create_future()
        self._production: Production | None = None
        self._stop_s = 0.0

    def stop(self, reason: Stop) -> None:
        """Stop producing; `run` then writes the end that belongs to the first reason."""
        if self._stop is None:
            self._stop, self._stop_s = reason, time.monotonic()
            if reason is Stop.LOST:
                counters.count("lease_losses")
            self._stopped.set_result(None)
            if self._production is not None:
                self._production.stop()

    @property
    def progress(self) -> str:
        """One of `STATES`."""
        if self._production is None:
            return "starting"
        if self._stop is not None or self._production.task.done():
            return "ending"
        if self._production.has_content:
            return "streaming"
        return "starting" if self._production.call is Call.NOT_MADE else "waiting"

    @property
    def row(self) -> dict[str, Any]:
        """What an operator wants to know of it; times are of the server's clock."""
        attempt = self.attempt
        return {
            "stream": attempt.stream_id,
            "model": attempt.state.model,
            "epoch": attempt.fence.epoch,
            "state": self.progress,
            "claimed_ms": attempt.state.started_ms,
            "tail": attempt.tail,
            "last_ms": attempt.last_ms,
        }

    async def run(self) -> bool:
        """Produce until the end, and seal truthfully whatever happens.

        Returns when the stream is sealed, given back to the queue, or no longer ours: True if it was given back.

        Raises:
            LogError: Not even the end could be written; the reaper will write one.
        """
        try:
            return await self._run(read_request(self._body))
        except Lost as error:
            if self._stop is not Stop.LOST:
                counters.count("lease_losses")
            logger.warning(
                "stream %s goes on without us: %s",
                self.attempt.stream_id,
                error,
                extra={"stream": self.attempt.stream_id},
            )
        except LogError:
            raise
        except Exception:
            # Waiting for the lease to run out would tell nobody why, and a policy could pay for the same end again.
            logger.exception(
                "stream %s cannot go on or end as it should; it ends as failed",
                self.attempt.stream_id,
                extra={"stream": self.attempt.stream_id},
            )
            began_s = time.monotonic()
            end = last_entry(self.attempt, INTERNAL, spending=self._spending)
            await self.attempt.seal([encode(end)], INTERNAL.outcome)
            self._count_end(INTERNAL, began_s)
        finally:
            self.attempt.trace.end()
        return False

    async def _run(self, request: GenerationRequest) -> bool:
        writer = new_writer(self.attempt, request, self._parts.settings)
        writer.flusher.add_done_callback(self._flusher_ended)
        production = self._production = Production(self._parts, self.attempt, request, writer, self._unwatched_ms)
        if self._stop is not None:
            production.stop()
        try:
            longest_s = production.limits.generation_s + CLOSE_S
            ended, _ = await asyncio.wait(
                (production.task, self._stopped), timeout=longest_s, return_when=asyncio.FIRST_COMPLETED
            )
            if not ended:  # an app or a filter has swallowed the cancellation of the time-out
                production.stop()
            if not production.task.done():
                await asyncio.wait((production.task,), timeout=CLOSE_S)
            failure = production.failure if ended else TimeoutError()
            conclusion = await self._conclude(production, writer, failure)
        finally:
            if writer.first_ms is not None:
                self.attempt.trace.first_entry(writer.first_ms)
            writer.drop()
            await production.close()
        if isinstance(conclusion, Seal) and (conclusion.outcome != COMPLETED or production.is_blocked):
            await production.cancel_upstream()
        return isinstance(conclusion, Release)

    async def _conclude(self, production: Production, writer: Writer, failure: BaseException | None) -> Conclusion:
        """Decide how the generation ends, write it, and return what was decided."""
        if self._stop is Stop.BROKEN:
            failure = writer.flusher.exception()
        limit_s = production.limits.generation_s
        conclusion = conclude(self._stop, production.call, failure, generation_timeout_s=limit_s)
        match conclusion:
            case Seal():
                if conclusion is INTERNAL:
                    logger.error(
                        "stream %s failed",
                        self.attempt.stream_id,
                        exc_info=failure,
                        extra={"stream": self.attempt.stream_id},
                    )
                began_s = time.monotonic()
                fields = await production.end_fields(conclusion.outcome)
                end = last_entry(self.attempt, conclusion, writer, self._spending, fields)
                await writer.end(end, conclusion.outcome)
                self._count_end(conclusion, began_s)
            case Release():
                await writer.close()
                await self.attempt.release()
                self.attempt.trace.released()
            case Leave(BaseException() as cause):
                raise cause
        return conclusion

    @property
    def _spending(self) -> Spending:
        return self._production.spending if self._production else NOTHING_SPENT

    def _count_end(self, seal: Seal, began_s: float) -> None:
        counters.count("ends", seal.outcome, seal.code)
        self.attempt.trace.sealed(seal.outcome, seal.code, began_s, self.attempt.sealed_s)
        if self._stop is Stop.CANCELLED:
            counters.distribution("cancel_seconds").add(self.attempt.sealed_s - self._stop_s)

    def _flusher_ended(self, flusher: asyncio.Task[None]) -> None:
        if not flusher.cancelled() and (error := flusher.exception()) is not None:
            logger.warning("stream %s: %s", self.attempt.stream_id, error, extra={"stream": self.attempt.stream_id})
            self.stop(stop_of(error))


def read_request(body: bytes) -> GenerationRequest:
    """Return a request as it was accepted.

    Raises:
        UnreadableError: A broker accepted what this worker cannot read. The message quotes nothing of the request:
            prompts do not belong in logs.
    """
    try:
        return GenerationRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        raise UnreadableError(f"{first['type']} at {'.'.join(map(str, first['loc'])) or 'its root'}") from None
