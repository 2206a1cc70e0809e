"""One stream of a caller's, in the caller's hands: what can be asked of it and done with it."""

from collections.abc import AsyncIterator

import orjson

from midstream.access.grant import Grant, Scope
from midstream.journal import audit
from midstream.journal.audit import Asker
from midstream.log.answer import Answer
from midstream.log.entries import RESET, Json, Stored, decode
from midstream.log.keys import stream_name
from midstream.log.reading import read_answer, read_entries
from midstream.log.state import State
from midstream.log.values import Fence
from midstream.requests.request import GenerationRequest
from midstream.service import stopping
from midstream.service.external_producer import ExternalProducer, claim_external
from midstream.service.listing import summary
from midstream.service.resources import Resources


class StreamHandle:
    """A stream that was found to be the caller's. Only `CallerStreams` makes handles, after that check.

    A handle lives as long as its request. Every method that reads or writes raises `LogUnavailable` when Redis does
    not answer.

    Attributes:
        id: The stream's id.
        state: Its state as last read.
        warnings: What its start is to be warned of.
    """

    __slots__ = ("_asker", "_grant", "_name", "_resources", "id", "state", "warnings")

    def __init__(self, resources: Resources, grant: Grant, asker: Asker, stream_id: str, state: State) -> None:
        self._resources = resources
        self._grant = grant
        self._asker = asker
        self._name = stream_name(grant.tenant, stream_id)
        self.id = stream_id
        self.state = state
        self.warnings: list[Json] = []

    async def refresh(self) -> State:
        """Read the state again and return it.

        Raises:
            StreamAbsent: The stream was deleted or has expired.
        """
        self.state = await stopping.present(self._resources, self._name)
        return self.state

    def entries(self, after: int = 0) -> AsyncIterator[Stored]:
        """Return an iterator over the entries after offset `after` that the log holds now."""
        return read_entries(self._resources.log, self._name, after)

    async def answer(self) -> Answer:
        """Return what the stream has answered so far."""
        return await read_answer(self._resources.log, self._name)

    async def last_reset(self) -> int:
        """Return the offset of the last `reset` up to the state's tail; 0: there is none."""
        if self.state.epoch <= 1:  # only a later attempt writes one
            return 0
        offset = 0
        async for entry in self.entries():
            if entry.offset <= self.state.tail and decode(entry.content, entry.offset, entry.epoch).type == RESET:
                offset = entry.offset
        return offset

    async def request(self) -> GenerationRequest:
        """Return the request that started the stream; raises as `refresh`."""
        return GenerationRequest.model_validate_json(await self._resources.log.request(self._name))

    async def origin(self) -> Json:
        """Return what the endpoint that started the stream has noted of it; empty for a native start."""
        origin: Json = orjson.loads(await self._resources.log.origin(self._name) or b"{}")
        return origin

    def summary(self) -> Json:
        """Return the stream's row in a list."""
        return summary(self.id, self.state)

    async def description(self, *, output: bool = False) -> Json:
        """Return all that there is to know about the stream; with `output`, what it has generated as well.

        Raises:
            StreamAbsent: The stream was deleted or has expired.
        """
        request = await self.request()
        state = self.state
        end: Json = {}
        if state.ended:
            async for last in self.entries(state.tail - 1):
                end = decode(last.content, last.offset, last.epoch).data
        description = self.summary() | {
            "messages": request.as_messages(),
            "metadata": orjson.loads(state.metadata),
            "on_worker_loss": state.policy,
            "paid_calls": state.paid,
            "waits": state.waits or None,
            "first": state.first,
            "lease_until_ms": state.lease_until_ms or None,
            "upstream_id": state.upstream_id or None,
            "tails": self._resources.hub.tails_of(self._name),
            **{name: end.get(name) for name in ("finish_reason", "error", "usage", "cost", "timings")},
        }
        if output:
            answer = await self.answer()
            description["output"] = {
                "text": answer.text,
                "reasoning": answer.reasoning,
                "tool_calls": answer.tool_calls,
                **{name: end[name] for name in ("parsed", "parse_error") if name in end},
            }
        return description

    def producer(self, epoch: int, owner: str) -> ExternalProducer:
        """Return the external producer of the stream with this fence; it has the scope `send`.

        Raises:
            InsufficientScopeError: The credential appends nothing.
        """
        self._grant.require(Scope.SEND)
        return ExternalProducer(self._resources, self._name, self.state, Fence(epoch, owner))

    async def claim(self, owner: str) -> None:
        """Claim the stream for an external producer; see `claim_external`."""
        self._grant.require(Scope.SEND)
        self.state = await claim_external(self._resources, self._name, owner)

    async def cancel(self) -> State:
        """Ask for a stop and return the state after that; a stream that has ended stays as it is.

        Raises:
            InsufficientScopeError: The credential stops nothing.
            StreamAbsent: The stream was deleted or has expired.
        """
        self._grant.require(Scope.STOP)
        self.state = await stopping.cancel(self._resources, self._name)
        audit.done("stop", self._asker, **self._grant.names, stream=self.id)
        return self.state

    async def delete(self) -> None:
        """Forget the stream and what leads to it. One that still runs is cancelled first: nobody could see its cost.

        Raises:
            InsufficientScopeError: The credential stops nothing.
            StreamAbsent: The stream was deleted or has expired before.
        """
        self._grant.require(Scope.STOP)
        await stopping.delete(self._resources, self._name)
        audit.done("delete", self._asker, **self._grant.names, stream=self.id)
