"""A producer in anybody's process: the worker's own writer, fence and lease around a block of the program's code."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar, get_args

from midstream import counters
from midstream.attempts.app_items import checked
from midstream.attempts.attempt import Attempt
from midstream.attempts.attempt_end import last_entry
from midstream.attempts.conclusion import INTERNAL, Call, Stop, conclude, stop_of
from midstream.attempts.delta import Delta, Finish, FinishReason, SourceError, Text
from midstream.attempts.out import Out
from midstream.attempts.steps import Steps, StepUnknownError, Unknown
from midstream.attempts.surrogates import SurrogateJoiner
from midstream.attempts.writer import Writer, WriterStoppedError
from midstream.filters.filter import NamedFilter
from midstream.filters.filtering import CONTENT_FILTER, Filtering, filtering_of
from midstream.filters.new_writer import new_writer
from midstream.lifecycle.verdict import PRODUCER_LOST, Seal
from midstream.log.entries import CANCELLED, Entry, encode
from midstream.log.errors import LogError, StreamSealed
from midstream.producer.cut_block import CutBlock
from midstream.producer.opening import refuse
from midstream.producer.produce_errors import Cancelled, ProduceError
from midstream.requests.request import GenerationRequest
from midstream.requests.time_limits import time_limits
from midstream.settings import Settings

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

END_S: Final = 60.0
"""How long the end of a block waits for a server that does not take the terminal entry."""
STOPPED_S: Final = 5.0
"""The same, where the block's task is cancelled."""


class Link(Protocol):
    """How a producer reaches its stream; `settings` are those that hold for it."""

    settings: Settings

    async def begin(
        self, request: GenerationRequest, tenant: str, key: str | None, *, take_up: bool
    ) -> tuple[Attempt, str]:
        """Start a stream; return its attempt and its id."""
        ...

    def earlier_entries(self) -> AsyncIterator[Entry]:
        """Yield the entries of the streams whose key was taken up."""
        ...

    def keep(self, producer: "Producer") -> None:
        """Renew the producer's lease until the link is closed."""
        ...


Way = Callable[[], AbstractAsyncContextManager[Link]]
"""Opens a link."""


class Producer(Out):
    """One stream, appended to by this program; an async context manager, made by `midstream.produce`.

    Each method that writes returns as soon as the entry is in its batch; it waits only while more than a MiB waits for
    Redis. Each raises `Cancelled` once a client has cancelled the stream, and `ProduceError` once it goes on without
    this producer. The methods belong to the event loop that entered the block.

    Attributes:
        id: The stream's id, in the block.
        cancelled: Whether a client has cancelled the stream.
        block: What is cut when the stream ends first.
        steps: The steps of the block, in the block.
        in_step: Returns what a part of a step returns, or raises as `once`.
    """

    def __init__(
        self,
        way: Way,
        request: GenerationRequest,
        tenant: str,
        key: str | None,
        filters: Sequence[NamedFilter],
        *,
        take_up: bool = False,
    ) -> None:
        self.id = ""
        self.cancelled = False
        self.attempt: Attempt
        self._way = way
        self._settings: Settings
        self._request = request
        self._tenant = tenant
        self._key = key
        self._take_up = take_up
        self.steps: Steps
        self.in_step = self._in_step
        self._filters = filters
        self._filtering: Filtering | None = None
        self._stack = AsyncExitStack()
        self._writer: Writer
        self._joiner = SurrogateJoiner()
        self._reason: FinishReason = "stop"
        self._stop: Stop | None = None
        self._refusal: Exception | None = None
        self._ending: asyncio.Task[None] | None = None
        self.block = CutBlock()

    async def __aenter__(self) -> Self:
        """Start the stream.

        Raises:
            ProduceError: Nothing was started; its code says why.
        """
        try:
            link = await self._stack.enter_async_context(self._way())
            self._settings = link.settings
            self.attempt, self.id = await link.begin(self._request, self._tenant, self._key, take_up=self._take_up)
        except LogError as error:
            await self._stack.aclose()
            refuse(error, None)
        except BaseException:
            await self._stack.aclose()
            raise
        self._begin(link)
        link.keep(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Write the end that the block has come to, and return when it is on the log.

        Raises:
            ProduceError: The stream goes on without this producer, or its end could not be written.
        """
        async with self._stack:
            if error is None and self._ending is None:
                with contextlib.suppress(Cancelled, ProduceError):
                    await self._flush_joiner()
                    if self._filtering is not None:
                        await self._put(Finish(self._reason))
            self._end(error)
            try:
                await self._ended(END_S)
            except ProduceError as failure:
                self._refusal = failure
            if isinstance(self._refusal, ProduceError):
                if error is None:
                    raise self._refusal
                logger.warning("stream %s: %s", self.id, self._refusal, extra={"stream": self.id})
        return self.cancelled and isinstance(error, Cancelled)

    def finish(self, reason: FinishReason) -> None:
        """Name the reason for which the answer ends; without it a block that ends well has the reason `stop`."""
        if reason not in get_args(FinishReason):
            raise ValueError(f"a reason is one of {', '.join(get_args(FinishReason))}")
        self._reason = reason

    async def write(self, item: str | Delta) -> None:
        """Append what an app could yield: a text, or a delta.

        Raises:
            UnfitItemError: It cannot become an entry; nothing of it was appended.
            Cancelled: A client has cancelled the stream.
            ProduceError: The stream goes on without this producer, or a limit is reached.
        """
        delta = checked(item)
        if isinstance(delta, Text):
            if piece := self._joiner.push(delta.text):
                await self._put(Text(piece))
            return
        await self._flush_joiner()
        await self._put(delta)

    async def once(self, name: str, arguments: Any, call: Callable[[], Any], *, unknown: Unknown = "ask") -> Any:
        """Do a step once, and return its result (PROTOCOL: Step/Producer); arguments are those of `Steps.once`.

        Raises:
            StepUnknownError: Nobody knows whether the step was done; under `ask` the stream has ended as interrupted.
            UnfitStepError: Its arguments or its result cannot be logged.
            Cancelled: A client has cancelled the stream.
            ProduceError: The stream goes on without this producer, or a limit is reached.
        """
        return await self.in_step(self.steps.once(name, arguments, call, unknown=unknown))

    async def _in_step(self, work: Awaitable[Result]) -> Result:
        """Return what a part of a step returns, or raise as `once`."""
        try:
            return await work
        except StepUnknownError as error:
            if self.steps.failure is not None:
                self._fail(error)
            raise
        except SourceError as error:  # a limit is reached
            self._fail(error)
            raise ProduceError(error.code, error.message, stream_id=self.id) from None
        except (WriterStoppedError, LogError) as error:
            if self._ending is None:
                raise ProduceError("log_unavailable", str(error), stream_id=self.id) from error
            raise self._refusal or ProduceError("producer_ended", "The stream has ended.", stream_id=self.id) from None

    async def _write_step(self, entry: Entry, *, durably: bool) -> None:
        await self._writer.put_through(entry, durably=durably and self._settings.durable_intent)

    def stop(self, reason: Stop) -> None:
        """Write the end at once, because a client cancels, or the stream is lost; the block hears of it when it writes.

        The lease keeper calls this.
        """
        if self._ending is None:
            self._stop, self.cancelled = reason, reason is Stop.CANCELLED
            self._end(None, self._refusal_of(reason))

    def _begin(self, link: Link) -> None:
        settings = self._settings
        self.steps = Steps(self._write_step, link.earlier_entries, most_bytes=settings.step_bytes)
        self._writer = new_writer(self.attempt, self._request, settings)
        self._filtering = filtering_of(self._writer, self._filters, self._request, self.attempt, settings)
        self._writer.flusher.add_done_callback(self._flusher_ended)
        limit_s = time_limits(self._request, self._request.label, settings).generation_s
        overdue = SourceError("generation_timeout", f"It took longer than {limit_s:g} s.")
        timer = asyncio.get_running_loop().call_later(limit_s, self._fail, overdue)
        self._stack.callback(timer.cancel)

    async def _flush_joiner(self) -> None:
        if rest := self._joiner.flush():
            await self._put(Text(rest))

    async def _put(self, delta: Delta) -> None:
        if self._ending is None:
            try:
                await (self._filtering or self._writer).put(delta)
                if self._filtering is not None and self._filtering.blocked_by:
                    self._end(None, ProduceError(CONTENT_FILTER, "A filter has stopped the answer.", stream_id=self.id))
                if self._writer.is_due:  # a block that waits for nothing else gives way to its own writer
                    await asyncio.sleep(0)
            except SourceError as error:  # a limit is reached
                self._fail(error)
        if self._ending is not None:
            raise self._refusal or ProduceError("producer_ended", "The stream has ended.", stream_id=self.id)

    def _fail(self, error: SourceError) -> None:
        self._end(error, ProduceError(error.code, error.message, stream_id=self.id))

    def _refusal_of(self, reason: Stop) -> Exception:
        match reason:
            case Stop.CANCELLED:
                return Cancelled("A client has cancelled the stream.")
            case Stop.FULL:
                return ProduceError("log_full", "The server is out of memory.", stream_id=self.id)
            case Stop.BROKEN:
                return ProduceError("internal", "Something went wrong; it was logged.", stream_id=self.id)
        return ProduceError("producer_lost", "The stream goes on without this producer.", stream_id=self.id)

    def _end(self, failure: BaseException | None, refusal: Exception | None = None) -> None:
        """Begin to write the end, unless that has begun; `refusal` is what the block hears when it writes."""
        if self._ending is None:
            self._refusal = refusal
            self._ending = asyncio.create_task(self._write_end(_reason_of(failure)), name=f"end of {self.id}")
            self.block.cut()

    async def _write_end(self, failure: BaseException | None) -> None:
        self._writer.open_room()
        if failure is None and self._writer.finish is None:
            self._writer.finish = self._reason
        limit_s = self._settings.generation_timeout_s
        conclusion = conclude(self._stop, Call.NOT_RESUMABLE, failure, generation_timeout_s=limit_s)
        try:
            if self._filtering is not None:
                await self._filtering.close(writes=isinstance(conclusion, Seal))
            if self._stop is Stop.BROKEN:
                await self.attempt.seal([encode(last_entry(self.attempt, INTERNAL))], INTERNAL.outcome)
            elif isinstance(conclusion, Seal):  # what is lost is ended by others
                await self._writer.end(last_entry(self.attempt, conclusion, self._writer), conclusion.outcome)
                counters.count("ends", conclusion.outcome, conclusion.code)
        finally:
            self._writer.drop()

    async def _ended(self, wait_s: float) -> None:
        """Return when the end is written.

        Raises:
            ProduceError: It could not be.
        """
        assert self._ending is not None  # noqa: S101
        try:
            async with asyncio.timeout(wait_s):
                await asyncio.shield(self._ending)
        except LogError as error:
            raise ProduceError("producer_lost", str(error), stream_id=self.id) from error
        except TimeoutError:
            self._ending.cancel()
            raise ProduceError("log_unavailable", "The end could not be written.", stream_id=self.id) from None
        except asyncio.CancelledError:
            await asyncio.wait((self._ending,), timeout=STOPPED_S)
            self._ending.cancel()
            raise

    def _flusher_ended(self, flusher: asyncio.Task[None]) -> None:
        if not flusher.cancelled() and (error := flusher.exception()) is not None:
            logger.warning("stream %s: %s", self.id, error, extra={"stream": self.id})
            is_cancelled = isinstance(error, StreamSealed) and error.outcome == CANCELLED
            self.stop(Stop.CANCELLED if is_cancelled else stop_of(error))


def _reason_of(failure: BaseException | None) -> BaseException | None:
    """Return what the log may hold of a failure: the type of an exception, never its words."""
    if failure is None or isinstance(failure, SourceError):
        return failure
    if isinstance(failure, Exception):
        return SourceError("source_error", f"The producer raised {type(failure).__name__}.")
    return SourceError(PRODUCER_LOST.code, "The producer was stopped; the answer so far is kept.")
