"""`/v1/ws`: start, tail, produce and cancel any number of streams on one socket (PROTOCOL: WebSocket)."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

from fastapi import APIRouter, WebSocket
from starlette.types import Scope as HttpScope
from starlette.websockets import WebSocketDisconnect

from midstream.access.grant import Scope
from midstream.access.refusals import AccessError, LimitExceededError
from midstream.http.auth import BY_APP, caller_of, caller_with, services_of
from midstream.http.cors import is_foreign
from midstream.http.fast_path.wire import SOCKET_EXTENSION
from midstream.http.noted_errors import noted
from midstream.http.problems import Problem
from midstream.http.socket.socket_credential import SocketCredential
from midstream.http.socket.ws_messages import (
    Append,
    Auth,
    Cancel,
    Follow,
    FollowThread,
    Lease,
    Leave,
    LeaveThread,
    Message,
    Ping,
    Produce,
    Seal,
    Start,
    read_message,
)
from midstream.http.socket.ws_producer import act
from midstream.http.socket.ws_socket import Outbox, Pace
from midstream.http.socket.ws_tails import SocketTails
from midstream.service.caller import Caller
from midstream.settings import Settings

logger = logging.getLogger(__name__)
router = APIRouter()

UNAUTHORIZED: Final = 4401
FOREIGN_ORIGIN: Final = 4403
TOO_LARGE: Final = 1009
TRY_AGAIN_LATER: Final = 1013
NORMAL: Final = 1000
INTERNAL: Final = 1011
SERVICE_RESTART: Final = 1012


@router.websocket("/v1/ws")
async def serve(socket: WebSocket) -> None:
    """Serve one socket until either side closes it."""
    services = services_of(socket.scope)
    settings = services.settings
    await socket.accept()
    # A page may have no key. In open mode nobody needs one, and a page is told apart by its origin alone.
    if settings.is_open and is_foreign(socket, settings):
        await socket.close(FOREIGN_ORIGIN, "a page of another origin needs a key")
        return
    outbox = Outbox(socket, settings.send_timeout_ms / 1000)
    conversation = _Conversation(socket.scope, settings, outbox)
    sending = asyncio.create_task(outbox.run(), name="socket out")
    receiving = asyncio.create_task(conversation.run(socket), name="socket in")
    try:
        over = (sending, receiving, conversation.credential.refused, conversation.parted)
        await asyncio.wait(over, return_when=asyncio.FIRST_COMPLETED)
    finally:
        conversation.drop()
        for task in (sending, receiving):
            task.cancel()
        await asyncio.wait((sending, receiving))  # not `gather`, whose cancel an app's test client does not know again
    if conversation.credential.refused.done():
        close_code = UNAUTHORIZED
    else:
        close_code = SERVICE_RESTART if conversation.parted.done() else _code_of(receiving, sending)
    with contextlib.suppress(RuntimeError, WebSocketDisconnect, OSError):
        await socket.close(close_code)


def _code_of(receiving: asyncio.Task[int], sending: asyncio.Task[None]) -> int:
    """Return the code to close with after both tasks have ended."""
    for task in (receiving, sending):
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.debug("a socket's task ended: %r", error)
            return INTERNAL
    return INTERNAL if receiving.cancelled() else receiving.result()


class _Conversation:
    """What one client sends, and its tails.

    Attributes:
        credential: Who the client is, and until when.
        parted: Done once the first of the tails has ended because this process stops.
    """

    def __init__(self, scope: HttpScope, settings: Settings, outbox: Outbox) -> None:
        self._scope = scope
        self._settings = settings
        self._outbox = outbox
        self._tails = SocketTails(outbox, settings.ws_max_tails, self._left)
        self.credential = SocketCredential(outbox, self._tails.sinks)
        self.parted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._room = contextlib.ExitStack()
        self._pace = Pace(self._settings.socket_messages_per_second)

    async def run(self, socket: WebSocket) -> int:
        """Answer until the client goes; return the code to close with."""
        refusal = await self._admit(socket)
        if refusal is not None:
            return refusal
        while True:
            await self._pace.turn()
            content = await _receive(socket)
            if content is None:
                return NORMAL
            if len(content) > self._settings.max_body_bytes:
                return TOO_LARGE
            message = await self._parse(content)
            if message is None:
                continue
            try:
                await self._act(self.credential.caller, message)
            except Exception as error:  # noqa: BLE001 - every refusal is an answer
                await self._refuse(_logged(error, self._scope), message)

    async def _admit(self, socket: WebSocket) -> int | None:
        """Wait until the caller is known, or return the code to close with.

        A client that has shown no key can cost us a small message and a short wait, and no more.
        """
        try:
            caller = await caller_of(socket)
        except (AccessError, Problem) as error:
            if isinstance(error, Problem) or not {"authorization", "x-api-key"}.isdisjoint(socket.headers):
                await self._refuse(noted(error, self._scope))
                return UNAUTHORIZED
        else:
            return await self._let_in(socket, caller, None)
        try:
            async with asyncio.timeout(self._settings.ws_auth_s):
                message = await self._first_message(socket)
        except TimeoutError:
            detail = f"No key came within {self._settings.ws_auth_s:g} s: auth."
            await self._refuse(Problem(401, "unauthorized", detail))
            return UNAUTHORIZED
        if isinstance(message, int):
            return message
        try:
            admitted = await caller_with(self._scope, *([message.key] if isinstance(message, Auth) else ()))
        except AccessError as error:
            await self._refuse(noted(error, self._scope), message)
            return UNAUTHORIZED
        return await self._let_in(socket, admitted, message)

    async def _let_in(self, socket: WebSocket, caller: Caller, message: Message | None) -> int | None:
        try:
            self._room.enter_context(caller.socket())
        except LimitExceededError as error:
            await self._refuse(noted(error, self._scope), message)
            return TRY_AGAIN_LATER
        _tell_server(socket, lambda: bool(self._tails.sinks))
        self.credential.admit(caller)
        await self._outbox.answer(type="ready", ref=message.ref if message else None)
        return None

    async def _first_message(self, socket: WebSocket) -> Message | int:
        """Return the first message that can be read, or the code to close with."""
        while True:
            content = await _receive(socket)
            if content is None:
                return NORMAL
            if len(content) > self._settings.ws_auth_bytes:
                return TOO_LARGE
            message = await self._parse(content)
            if message is not None:
                return message

    async def _parse(self, content: str | bytes) -> Message | None:
        """Return a message, or None where it was refused."""
        try:
            return read_message(content, self._settings.max_depth)
        except Problem as problem:
            await self._refuse(problem)
        return None

    def drop(self) -> None:
        """Close all tails, and give back the socket's room."""
        self._room.close()
        self.credential.release()
        self._tails.drop()

    async def _act(self, caller: Caller, message: Message) -> None:
        if not isinstance(message, Auth):
            caller.check()
        match message:
            case Auth():
                await self._renew(message)
            case Ping(ref=ref):
                await self._outbox.answer(type="pong", ref=ref)
            case Produce() | Append() | Lease() | Seal():
                await self._outbox.answer(**await act(caller, message))
            case Start():
                await self._start(caller, message)
            case Follow() | FollowThread() | Leave() | LeaveThread():
                await self._tails.act(caller, message)
            case Cancel(id=stream_id, ref=ref):
                state = await (await caller.streams.find(stream_id, Scope.STOP)).cancel()
                facts = {"status": state.status, "outcome": state.outcome or None}
                await self._outbox.answer(type="cancelling", id=stream_id, ref=ref, **facts)

    async def _renew(self, message: Auth) -> None:
        if BY_APP in self._scope:
            raise Problem(403, "named_by_app", "The app says who you are: to be somebody else, open a socket.")
        self.credential.admit(await caller_with(self._scope, message.key))
        await self._outbox.answer(type="ready", ref=message.ref)

    async def _start(self, caller: Caller, message: Start) -> None:
        self._tails.check_room()
        if message.tail:
            caller.require(Scope.READ)
            caller.streams.require_room()
        stream, is_new = await caller.streams.start(message.request, message.idempotency_key or None)
        answer = {"type": "started", "id": stream.id, "created": is_new, "ref": message.ref}
        if message.tail:
            await self._tails.follow(caller, Follow(type="tail", id=stream.id), answer)
        else:
            await self._outbox.answer(**answer)

    def _left(self) -> None:
        self.credential.end_if_due()
        if self.credential.caller.is_stopping and not self.parted.done():
            self.parted.set_result(None)

    async def _refuse(self, problem: Problem, message: Message | None = None) -> None:
        facts = {name: getattr(message, name, None) for name in ("id", "thread", "ref")} | problem.facts
        await self._outbox.answer(type="error", code=problem.code, message=problem.detail, **facts)


def _tell_server(socket: WebSocket, has_tails: Callable[[], bool]) -> None:
    """Have the server count the socket among those that it has let in."""
    protocol = socket.scope.get("extensions", {}).get(SOCKET_EXTENSION)
    if protocol is not None:
        protocol.admit(has_tails)


async def _receive(socket: WebSocket) -> str | bytes | None:
    """Return the next message's content, or None where the client has gone."""
    event = await socket.receive()
    if event["type"] == "websocket.disconnect":
        return None
    content: str | bytes = event.get("text") or event.get("bytes") or b""
    return content


def _logged(error: Exception, scope: HttpScope) -> Problem:
    problem = noted(error, scope)
    if problem.code == "internal":
        logger.error("a message could not be answered", exc_info=error)
    return problem
