"""What a caller may do with streams, the same from every endpoint: start, find, list, read, follow, wait."""

import asyncio
from collections.abc import Sequence

from midstream.access.grant import Grant, Scope
from midstream.access.ids import derived_id
from midstream.access.refusals import InsufficientScopeError
from midstream.hub.follower import Follower
from midstream.hub.wait import Milestone
from midstream.journal.audit import Asker
from midstream.log.entries import Json, Timed
from midstream.log.errors import StreamAbsent, ThreadActive
from midstream.log.keys import new_id, stream_name
from midstream.log.state import EXTERNAL, State
from midstream.requests.catalogue import Choice
from midstream.requests.request import GenerationRequest, UnfitRequestError, UserError
from midstream.service.active_streams import require_none_active, require_scope
from midstream.service.caller_follower import CallerFollower
from midstream.service.listing import Filter, Listed
from midstream.service.new_stream import new_stream_of
from midstream.service.registering import created
from midstream.service.resources import Resources
from midstream.service.room import Room
from midstream.service.start_checks import runnable_model
from midstream.service.start_counts import count_start
from midstream.service.state_for_caller import state_for_caller
from midstream.service.stream_handle import StreamHandle
from midstream.service.taken_up import Place, place_of, steps_of
from midstream.service.thread_history import with_history


class CallerStreams:
    """The streams of one caller.

    A stream that the credential does not open raises `StreamAbsent`, like one that never was (I7).

    Every method raises `LogUnavailable` when Redis does not answer.
    """

    __slots__ = ("_asker", "_exempt_id", "_grant", "_resources", "_room")

    def __init__(self, resources: Resources, grant: Grant, asker: Asker) -> None:
        self._resources = resources
        self._grant = grant
        self._asker = asker
        self._room = Room(resources, grant)
        self._exempt_id = ""  # the stream started last, or found: no limit refuses its tails and waits

    def require_room(self) -> None:
        """Refuse unless a tail may be opened of a stream that is still to be started.

        After this the tail of the started stream is not refused, because a client that is told to try again later
        would start, and pay, a second stream.

        Raises:
            LimitExceededError: The tenant has as many tails as it may have in this process.
        """
        self._room.require_tail()

    def require_whole_tenant(self) -> None:
        """Refuse unless the credential opens all streams of its tenant; raises as `Grant.require_whole_tenant`."""
        self._grant.require_whole_tenant(Scope.READ)

    async def start(
        self,
        request: GenerationRequest,
        idempotency_key: str | None,
        *,
        stream_id: str | None = None,
        origin: Json | None = None,
        pointer: str = "",
    ) -> tuple[StreamHandle, bool]:
        """Start a generation, or find the one that the same start began; return its stream and whether it is new.

        `origin` is what the endpoint has to remember of the start. `stream_id` is used where there is no key. `pointer`
        is the key by which the stream is found again, and which is forgotten with it.

        Raises:
            InsufficientScopeError: The credential starts nothing.
            UnknownModel, MissingProviderKey: No such model here.
            UnfitRequestError: It cannot be stored, sent or served: each reason is a class of its own.
            LimitExceededError: The tenant or the user has started enough, and this start has not begun a stream before.
            BudgetExceededError: Its budget is spent, and this start has not begun a stream before.
            OverloadedError: The queue is too old, and this start has not begun a stream before.
            IdempotencyMismatch, StreamDeleted: See PROTOCOL: Create/Idempotent.
            ThreadActive: A stream of the thread has not ended, and the start is to be rejected then.
            StreamAbsent: The stream that the same start began has expired just now.
            LogUnavailable: Redis did not answer. The same start with the same key is safe.
        """
        if request.producer == EXTERNAL:
            raise UnfitRequestError(
                "An external producer starts its stream by POST /v1/streams, or by `produce` on a WebSocket."
            )
        self._grant.require(Scope.START)
        require_scope(self._grant, request.if_active)
        if idempotency_key is not None:
            stream_id = self.derived_id(idempotency_key, self.acting_for(request.user))
        return await self._start(request, stream_id or new_id(), idempotency_key, origin, pointer)

    async def produce(
        self, request: GenerationRequest, idempotency_key: str | None, owner: str, *, take_up: bool = False
    ) -> tuple[StreamHandle, bool, list[Json]]:
        """Start a stream that the caller appends to, and claim it by the word `owner`.

        Return it, whether it is new, and the steps of the key's earlier streams where that is taken up.

        Raises as `start`, and:
            ProducerRefusedError: Another producer has the stream of this key, or it is taken up no more.
        """
        self._grant.require(Scope.SEND)
        place, log = Place(new_id()), self._resources.log
        if idempotency_key is not None:
            secret, most = self._resources.secret.value, self._resources.settings.max_attempts
            grant = self.acting_for(request.user)
            place = await place_of(log, secret, grant, idempotency_key, request, most=most, take_up=take_up)
        steps = await steps_of(log, place.earlier)
        stream, is_new = await self._start(request, place.stream_id, idempotency_key)
        await stream.claim(owner)
        return stream, is_new, steps

    async def _start(
        self,
        request: GenerationRequest,
        stream_id: str,
        idempotency_key: str | None,
        origin: Json | None = None,
        pointer: str = "",
    ) -> tuple[StreamHandle, bool]:
        grant = self.acting_for(request.user)
        with self._resources.tracing.start(self._asker.traceparent) as trace:
            allowances = self._resources.credentials.allowances(grant)
            is_keyed = (request.continue_thread or request.if_active) and idempotency_key is not None
            # A repeat finds its stream, whatever has been added to the thread since, so it needs no history.
            is_repeat = is_keyed and await state_for_caller(self._resources.log, self._grant, stream_id) is not None
            try:
                if not is_repeat:
                    await require_none_active(self._resources, grant, request)
                sent = request if is_repeat else await with_history(self._resources, grant, request)
                new = new_stream_of(
                    *(request, self.model_for(sent), grant, allowances),
                    sent=sent,
                    origin=origin,
                    pointer=pointer,
                    most_waiting=self._resources.settings.thread_waiting,
                    trace=trace.context,
                    idempotency_key=idempotency_key,
                )
                state, warnings = await created(self._resources, grant, self._asker, stream_id, new, allowances)
                self._exempt_id = stream_id
            except ThreadActive as active:
                if request.if_active != "join":
                    raise
                stream_id, state, warnings = active.stream_id, None, []
            if is_new := state is not None:
                stream = StreamHandle(self._resources, grant, self._asker, stream_id, state)
            else:
                stream = await self._joined(stream_id)
            stream.warnings = warnings
            linked = "" if is_new else stream.state.trace
            trace.began(self._name(stream_id), stream.state, is_new=is_new, linked=linked)
        return stream, is_new

    async def _joined(self, stream_id: str) -> StreamHandle:
        self._exempt_id = stream_id
        stream = self._opened(stream_id, await state_for_caller(self._resources.log, self._grant, stream_id))
        count_start(stream.state.model, is_new=False)
        return stream

    def model_for(self, request: GenerationRequest) -> str:
        """Return the full name of a request's model, if the request can be run; raises as `start`."""
        return runnable_model(request, self._resources.settings, self.models)

    @property
    def models(self) -> Choice:
        """The models that the caller may use."""
        return Choice(self._resources.credentials.allowances(self._grant).models)

    def derived_id(self, idempotency_key: str, grant: Grant | None = None) -> str:
        """Return the id that every start with this key agrees on (PROTOCOL: Create/Idempotent)."""
        return derived_id(self._resources.secret.value, "key", (grant or self._grant).owner, idempotency_key)

    def acting_for(self, user: str | None) -> Grant:
        """Return the grant, narrowed to the user that the request names.

        Raises:
            UserError: The credential is of another user.
        """
        try:
            return self._grant.acting_for(user)
        except ValueError:
            raise UserError("The credential is of another user, and acts for that one alone.") from None

    async def find(self, stream_id: str, scope: Scope = Scope.READ) -> StreamHandle:
        """Return a stream of the caller's, with its state; `scope` is what is to be done with it.

        Raises:
            InsufficientScopeError: The credential lacks the scope, whether there is such a stream or not.
            StreamAbsent: There is none, or the credential does not open it.
        """
        self._grant.require(scope)
        return self._opened(stream_id, await state_for_caller(self._resources.log, self._grant, stream_id))

    async def find_each(self, stream_ids: Sequence[str], scope: Scope = Scope.READ) -> list[StreamHandle | None]:
        """Return these streams in one round trip; None for one that is absent to the caller.

        Raises:
            InsufficientScopeError: The credential lacks the scope.
        """
        self._grant.require(scope)
        states = await self._resources.log.states([self._name(each) for each in stream_ids]) if stream_ids else []
        handles: list[StreamHandle | None] = []
        for stream_id, state in zip(stream_ids, states, strict=True):
            try:
                handles.append(self._opened(stream_id, state))
            except StreamAbsent:
                handles.append(None)
        return handles

    def _opened(self, stream_id: str, state: State | None) -> StreamHandle:
        return StreamHandle(self._resources, self._grant, self._asker, stream_id, self._owned(stream_id, state))

    async def page(self, stream_id: str, after: int, limit: int) -> tuple[State, list[Timed]]:
        """Return a stream's state and up to `limit` entries after offset `after`, at one moment; raises as `find`."""
        self._grant.require(Scope.READ)
        await self._check_owner(stream_id)
        state, entries = await self._resources.log.read_timed(self._name(stream_id), after, limit)
        return self._owned(stream_id, state), entries

    async def list_page(self, only: Filter, limit: int, before: Listed | None) -> tuple[list[Json], Listed | None]:
        """Return a page of the list of streams, newest first; see `Lists.page`.

        Raises:
            InsufficientScopeError: The credential does not read, or is for one stream or thread.
        """
        self._grant.require(Scope.READ)
        if self._grant.is_narrow:
            raise InsufficientScopeError(Scope.READ)
        return await self._resources.lists.page(self._grant.tenant, self._grant.owner, only, limit, before)

    def follow(self, stream_id: str, after: int = 0) -> CallerFollower:
        """Return a context that holds the hub's follower of a stream, for a reader that has read up to `after`.

        Raises, when it is entered:
            InsufficientScopeError: The credential does not read.
            StreamAbsent: There is no such stream, or the credential does not open it.
            TokenExpiredError, UnauthorizedError: The credential has ended meanwhile.
        """
        room = None if stream_id == self._exempt_id else self._room
        return CallerFollower(self._pinned(stream_id, after), self._watched, room)

    def _watched(self) -> Grant | None:
        return self._resources.grant_ends.watched(self._grant)

    async def _pinned(self, stream_id: str, after: int = 0) -> Follower:
        """Return the hub's follower, which the caller unpins; raises as `follow`."""
        resources, grant = self._resources, self._grant
        grant.require(Scope.READ)
        if not grant.is_of_whole_tenant:
            await self._check_owner(stream_id)
        follower = await resources.hub.pinned(stream_name(grant.tenant, stream_id), after)
        try:
            self._owned(stream_id, follower.sync.state)
            resources.credentials.check(grant)  # after the last `await`: later ends are seen
        except BaseException:
            follower.unpin()
            raise
        return follower

    async def wait_for_end(self, stream_id: str, wait_s: float, *, is_exempt: bool = False) -> bool:
        """Wait until the stream has ended, for at most `wait_s`; a wait that `is_exempt` is refused by no limit.

        Return whether it has, or nothing more will come of it from this process: its state tells which.

        Raises:
            StreamAbsent: There is no such stream, or the credential does not open it.
            TokenExpiredError, UnauthorizedError: The credential has ended meanwhile.
            LimitExceededError: The tenant has as many waits as it may have here, and this one is no part of a start.
        """
        return await self._wait_for(Milestone.END, stream_id, wait_s, is_exempt=is_exempt)

    async def wait_for_word(self, stream_id: str, wait_s: float) -> bool:
        """Wait for the source's first word or the stream's end, as `wait_for_end` does."""
        return await self._wait_for(Milestone.FIRST_WORD, stream_id, wait_s)

    async def _wait_for(self, milestone: Milestone, stream_id: str, wait_s: float, *, is_exempt: bool = False) -> bool:
        with self._room.wait(is_exempt=is_exempt or stream_id == self._exempt_id):
            follower = await self._pinned(stream_id)
            try:
                async with asyncio.timeout(wait_s):
                    await follower.wait_for(milestone, self._watched())
            except TimeoutError:
                return False
            finally:
                follower.unpin()
        self._resources.credentials.check(self._grant)
        return True

    async def _check_owner(self, stream_id: str) -> None:
        """Look whose stream it is before it is read, so that the time of a long read tells nothing; raises as `find`.

        Another tenant's stream has another name. Only a credential that does not open all of its tenant's streams
        could meet one that it does not open.
        """
        if not self._grant.is_of_whole_tenant:
            self._owned(stream_id, await state_for_caller(self._resources.log, self._grant, stream_id))

    def _name(self, stream_id: str) -> str:
        return stream_name(self._grant.tenant, stream_id)

    def _owned(self, stream_id: str, state: State | None) -> State:
        """Return the state if it is that of a stream of the caller's.

        Raises:
            StreamAbsent: It is not.
        """
        if state is None or not self._grant.covers(state.tenant, state.user or None, stream_id, state.thread or None):
            raise StreamAbsent(stream_id)
        return state
