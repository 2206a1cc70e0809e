"""A producer that appends by HTTP: its fence and what it expects come with each request (PROTOCOL: Produce/Http)."""

import time
from typing import Final

from midstream import counters
from midstream.attempts.delta import MESSAGE_CHARS
from midstream.attempts.steps import BEGUN, STEP_CODES
from midstream.journal.plain_text import brief
from midstream.lifecycle.ending import end_entry
from midstream.lifecycle.verdict import PRODUCER_LOST, Seal
from midstream.log.entries import CANCELLED, FAILED, INTERRUPTED, STEP, Entry, Json, encode
from midstream.log.errors import StaleEpoch, StreamAbsent, StreamSealed, TailMismatch, UnfitServer
from midstream.log.keys import id_of
from midstream.log.state import EXTERNAL, State
from midstream.log.values import Ending, Fence
from midstream.money.prices import Cost
from midstream.requests.request import UnfitRequestError
from midstream.service.producer_refusal import ProducerRefusedError
from midstream.service.resources import Resources
from midstream.service.stopping import cost_so_far

_CODES: Final = {FAILED: "source_error", INTERRUPTED: PRODUCER_LOST.code}
TOO_LARGE: Final = Seal(FAILED, "output_too_large", "The output is larger than a stream may be.")


async def claim_external(resources: Resources, name: str, owner: str) -> State:
    """Claim a stream for an external producer, or find that the same word has claimed it; return its state.

    Raises:
        ProducerRefusedError: `already_produced`.
        LogUnavailable: Redis did not answer; the same claim can be made again.
    """
    try:
        return (await resources.log.claim(name, owner, resources.settings.lease_ms)).state
    except (StaleEpoch, StreamSealed):
        state = await resources.log.state(name)
        if state is not None and state.owner == owner:
            return state
        detail = "Another producer has this key's stream."
        raise ProducerRefusedError("already_produced", detail, id=id_of(name)) from None


class ExternalProducer:
    """The producer of one stream, for one request.

    Every method raises `ProducerRefusedError`, and `LogUnavailable` when Redis does not answer.

    Args:
        resources: What a broker process works with.
        name: The stream's name.
        state: Its state, which was just read.
        fence: What the request says of itself.
    """

    def __init__(self, resources: Resources, name: str, state: State, fence: Fence) -> None:
        self._resources = resources
        self._name = name
        self._state = state
        self._fence = fence

    async def append(self, tail: int, entries: list[Entry]) -> tuple[int, bool]:
        """Append entries after offset `tail`, and renew the lease; return the new tail, and whether they were there."""
        await self._check()
        await self._check_room(len(entries))
        is_durable = self._resources.settings.durable_intent and any(map(_begins_step, entries))
        if is_durable:
            await self._prove_disk()
        contents = [encode(entry) for entry in entries]
        try:
            new_tail, repeated = await self._resources.log.append(self._name, self._fence, tail, contents), False
        except TailMismatch as mismatch:
            new_tail, repeated = tail + len(contents), True
            if mismatch.actual < new_tail or not await self._has(tail, contents):
                raise _moved(mismatch.actual) from None
        except (StaleEpoch, StreamSealed) as error:
            raise self._refusal(error) from None
        if is_durable:
            await self._resources.disk.wait()
        await self.renew()
        return new_tail, repeated

    async def renew(self) -> int:
        """Renew the lease and return the stream's tail as it was."""
        await self._check()
        try:
            await self._resources.log.renew(self._name, self._fence, self._resources.settings.lease_ms)
        except (StaleEpoch, StreamSealed) as error:
            raise self._refusal(error) from None
        return self._state.tail

    async def seal_as(
        self, outcome: str, tail: int, message: str, finish_reason: str | None, usage: Json | None, code: str | None
    ) -> State:
        """End the stream after offset `tail`; the same end again is no error. Return its state."""
        if code is not None and STEP_CODES[code] != outcome:
            raise UnfitRequestError(f"`{code}` is for a stream that ends as `{STEP_CODES[code]}`.")
        seal = Seal(outcome, code or _CODES.get(outcome, ""), brief(message, MESSAGE_CHARS))
        is_repeated = self._state.ended and (self._state.outcome, *self._of()) == (seal.outcome, *self._whose())
        if not is_repeated:
            await self._check()
            await self._end(tail, seal, finish_reason, usage)
        state = await self._resources.log.state(self._name)
        if state is None:
            raise StreamAbsent(id_of(self._name))
        return state

    async def _prove_disk(self) -> None:
        """Return if the intent of a step can be on the server's disk, as the mark of a paid call (Step/Once)."""
        try:
            await self._resources.disk.prove()
        except UnfitServer as error:
            raise ProducerRefusedError("unfit_server", str(error)) from None

    async def _check(self) -> None:
        """Refuse unless the stream is still the producer's; a cancel and a limit end it here."""
        state = self._state
        if state.policy != EXTERNAL or self._of() != self._whose():
            raise _stale(state.epoch)
        if state.ended:
            raise _ended(state.outcome)
        most_s = self._resources.settings.generation_timeout_s
        limit_s = min(state.generation_timeout_ms / 1000 or most_s, most_s)
        if state.cancel_ms:
            await self._end(state.tail, Seal(CANCELLED, "", ""))
            raise _ended(CANCELLED)
        if time.time() - state.started_ms / 1000 > limit_s:
            await self._end(state.tail, Seal(FAILED, "generation_timeout", f"It took longer than {limit_s:g} s."))
            raise _ended(FAILED)

    async def _check_room(self, more: int) -> None:
        settings = self._resources.settings
        over = 0 < settings.stream_entries < self._state.tail + more
        if over or await self._resources.log.used_bytes(self._name) > settings.max_output_bytes:
            counters.count("limit_exceeded", "stream", "entries" if over else "bytes")
            await self._end(self._state.tail, TOO_LARGE)
            raise _ended(FAILED)

    async def _has(self, tail: int, contents: list[bytes]) -> bool:
        """Tell whether the log holds these entries after offset `tail`, of the same attempt."""
        _, stored = await self._resources.log.read(self._name, tail, len(contents))
        epochs = {entry.epoch for entry in stored}
        return [entry.content for entry in stored] == contents and epochs == {self._fence.epoch}

    async def _end(self, tail: int, seal: Seal, finish_reason: str | None = None, usage: Json | None = None) -> None:
        end = end_entry(
            seal.outcome,
            state=self._state,
            now_ms=time.time_ns() // 1_000_000,
            finish_reason=finish_reason,
            error={"code": seal.code, "message": seal.message} if seal.code else None,
            usage=usage,
            cost=await self._cost(usage),
        )
        try:
            await self._resources.log.seal(self._name, self._fence, tail, Ending([encode(end)], seal.outcome))
        except TailMismatch as mismatch:
            raise _moved(mismatch.actual) from None
        except (StaleEpoch, StreamSealed) as error:
            raise self._refusal(error) from None
        counters.count("ends", seal.outcome, seal.code)

    async def _cost(self, usage: Json | None) -> Cost | None:
        """Return what the answer has cost, by the usage in its end, or else by that in its last entries."""
        prices, model = self._resources.settings.prices, self._state.model
        if usage is not None:
            return prices.cost(model, usage)
        return await cost_so_far(self._resources, self._name, self._state)

    def _of(self) -> tuple[int, str]:
        return self._state.epoch, self._state.owner

    def _whose(self) -> tuple[int, str]:
        return self._fence.epoch, self._fence.owner

    @staticmethod
    def _refusal(error: StaleEpoch | StreamSealed) -> ProducerRefusedError:
        return _stale(error.current) if isinstance(error, StaleEpoch) else _ended(error.outcome)


def _begins_step(entry: Entry) -> bool:
    return entry.type == STEP and entry.data["state"] == BEGUN


def _stale(epoch: int) -> ProducerRefusedError:
    return ProducerRefusedError("stale_epoch", "The stream has another producer.", epoch=epoch)


def _moved(tail: int) -> ProducerRefusedError:
    return ProducerRefusedError("tail_mismatch", f"The stream's tail is at {tail}.", tail=tail)


def _ended(outcome: str) -> ProducerRefusedError:
    return ProducerRefusedError("stream_ended", f"The stream has ended: {outcome}.", outcome=outcome)
