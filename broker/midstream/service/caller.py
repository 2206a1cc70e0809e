"""What one caller may do. Every endpoint is handed one of these objects, and no other way to a stream."""

import hashlib
import time
from contextlib import AbstractContextManager

from midstream.access.api_keys import hash_of
from midstream.access.grant import Grant, Scope
from midstream.access.read_tokens import Subject
from midstream.access.refusals import InsufficientScopeError
from midstream.journal import audit
from midstream.journal.audit import Asker
from midstream.log.entries import Json
from midstream.log.registry import Listed
from midstream.service.caller_chat import CallerChat
from midstream.service.caller_streams import CallerStreams
from midstream.service.caller_thread import CallerThread
from midstream.service.erasure import erase_user
from midstream.service.grant_ends import Holder
from midstream.service.resources import Resources
from midstream.service.retries import Try
from midstream.service.room import Room
from midstream.service.thread_list import thread_page
from midstream.service.thread_tail import ThreadTail
from midstream.settings import Settings


class Caller:
    """The sender of a request, as far as the service layer knows it.

    This constructor is the only place where an identity enters the service layer.

    Attributes:
        streams: The caller's streams.
    """

    __slots__ = ("_asker", "_grant", "_resources", "streams")

    def __init__(self, resources: Resources, grant: Grant, asker: Asker) -> None:
        self._resources = resources
        self._grant = grant
        self._asker = asker
        self.streams = CallerStreams(resources, grant, asker)

    @property
    def names(self) -> dict[str, str | None]:
        """Who this is, as the audit names it: tenant, user, credential."""
        return self._grant.names

    @property
    def settings(self) -> Settings:
        """The settings of the process."""
        return self._resources.settings

    @property
    def is_stopping(self) -> bool:
        """Whether this process is stopping: it parts from every tail."""
        return self._resources.hub.draining

    def require(self, scope: Scope) -> None:
        """Refuse unless the credential has the scope.

        Raises:
            InsufficientScopeError: It has not.
        """
        self._grant.require(scope)

    def installation(self) -> Resources:
        """Return what this process works with, for the streams of all tenants; for operators alone.

        Raises:
            InsufficientScopeError: The credential lacks the scope `operate`, or is for one stream or one thread.
        """
        self._grant.require(Scope.OPERATE)
        if self._grant.is_narrow:
            raise InsufficientScopeError(Scope.OPERATE)
        return self._resources

    @property
    def asker(self) -> Asker:
        """The request that the caller has sent, as the audit names it."""
        return self._asker

    @property
    def expires_s(self) -> float | None:
        """When the credential ends, in seconds since 1970; None for never."""
        return self._grant.expires_s

    def check(self) -> None:
        """Do nothing while the credential is valid.

        Raises:
            TokenExpiredError, UnauthorizedError: It is over.
        """
        self._resources.credentials.check(self._grant)

    def is_renewed_by(self, other: "Caller") -> bool:
        """Tell whether another caller's credential is a new one for the same streams of the same user."""
        return self._grant.is_renewed_by(other._grant)  # noqa: SLF001 - of the same class

    def entrust(self, *holders: Holder | ThreadTail) -> None:
        """Have these end with the caller's credential, instead of the one that they ended with before."""
        grant = self._resources.grant_ends.watched(self._grant)
        for holder in holders:
            if isinstance(holder, ThreadTail):
                holder.renew(self._grant, self.streams)
            else:
                holder.grant = grant

    def socket(self) -> AbstractContextManager[None]:
        """Hold the room of a WebSocket.

        Raises:
            LimitExceededError: The tenant has as many as it may have in this process.
        """
        return Room(self._resources, self._grant).socket()

    def body(self, more_bytes: int) -> AbstractContextManager[None]:
        """Hold the room of a part of a request's body, until the request is answered.

        Raises:
            LimitExceededError: The tenant's bodies are as large as they may be in this process.
        """
        return Room(self._resources, self._grant).body(more_bytes)

    def watch(self, holder: Holder) -> None:
        """Refuse a holder when its credential ends, until `unwatch`. Tails and waits are watched anyway."""
        self._resources.grant_ends.add(holder)

    def unwatch(self, holder: Holder) -> None:
        """Forget a holder."""
        self._resources.grant_ends.remove(holder)

    async def mint(
        self,
        stream_id: str | None,
        thread: str | None,
        scopes: frozenset[Scope],
        ttl_s: int,
        *,
        user: str | None = None,
    ) -> tuple[str, int]:
        """Return a read token for one stream or one thread, and when it ends, in seconds since 1970.

        Raises:
            InsufficientScopeError: The credential lacks one of the scopes, or is a read token itself.
            StreamAbsent: The credential opens no such stream.
            UserError: It names a user that the credential is not of.
            LogUnavailable: Redis did not answer.
        """
        for scope in scopes:
            self._grant.require(scope)
        if self._grant.is_narrow:
            raise InsufficientScopeError(Scope.START)
        if stream_id is not None:
            await self.streams.find(stream_id, next(iter(scopes)))
        now_s = time.time()
        if self._grant.expires_s is not None:  # it does not outlive the credential that it comes from
            ttl_s = max(0, min(ttl_s, int(self._grant.expires_s - now_s)))
        key = hash_of(self._grant.credential)
        subject = Subject(self._grant.tenant, self.streams.acting_for(user).user, stream_id, thread, key)
        token = self._resources.credentials.read_tokens.mint(subject, scopes, now_s=now_s, ttl_s=ttl_s)
        names = self._grant.names | {"user": subject.user}
        audit.done("mint", self._asker, **names, stream=stream_id, reason=" ".join(sorted(scopes)))
        return token, int(now_s) + ttl_s

    async def erase_user(self, user: str) -> int:
        """Delete all of a user's streams, and return how many; see `erasure.erase_user`."""
        erased = await erase_user(self._resources, self._grant, self.streams, user)
        audit.done("erase", self._asker, **self._grant.names | {"user": user}, reason=f"{erased} streams")
        return erased

    def session(self, ttl_s: int) -> tuple[str, int]:
        """Return a token that carries this credential's grant for a page, and for how many seconds it does."""
        now_s = time.time()
        token, expires_s = self._resources.credentials.session_tokens.make(self._grant, now_s=now_s, ttl_s=ttl_s)
        audit.done("session", self._asker, **self._grant.names)
        return token, max(0, expires_s - int(now_s))

    async def threads(self, limit: int, before: Listed | None) -> tuple[list[Json], Listed | None]:
        """Return up to `limit` threads, the one that was started in last first, and the last row of a full page.

        Raises:
            InsufficientScopeError: The credential does not read, or is for one stream or thread.
            LogUnavailable: Redis did not answer.
        """
        self._grant.require(Scope.READ)
        if self._grant.is_narrow:
            raise InsufficientScopeError(Scope.READ)
        return await thread_page(self._resources.threads, self._grant, limit, before)

    def thread(self, thread: str) -> CallerThread:
        """Return the caller's thread of that name, which need not exist."""
        return CallerThread(self._resources, self._grant, self.streams, thread)

    def chat(self, chat_id: str) -> CallerChat:
        """Return the caller's chat of that id, which need not have begun."""
        return CallerChat(self._resources, self._grant, self.streams, chat_id)

    async def begin_try(self, path: str, body: bytes, count: int) -> Try:
        """Begin an SDK's try of a request, 0 for the first one (PROTOCOL: Faces/Retries).

        Tries of one caller with the same path and body are tries of the same request.

        Raises:
            LogUnavailable: Redis did not answer.
        """
        body_digest = hashlib.sha256(body).hexdigest()
        digest = hashlib.sha256(f"{self._grant.owner}\0{path}\0{body_digest}".encode()).hexdigest()
        return await self._resources.retries.begin(digest, count)
