"""`/v1/ws`: start, tail and cancel any number of streams on one socket (PROTOCOL: WebSocket)."""

import asyncio
import contextlib
import logging
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, WebSocket
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.websockets import WebSocketDisconnect

from midstream.faces.objects import ObjectsFace
from midstream.http.auth import known_tenant, tenant
from midstream.http.cors import is_foreign
from midstream.http.fast_path.ws_protocol import EXTENSION
from midstream.http.json_route import read_json
from midstream.http.problems import Problem, misfit, problem_of
from midstream.http.socket.ws_socket import Outbox, SocketSink
from midstream.requests.request import GenerationRequest
from midstream.service import streams
from midstream.service.services import House

logger = logging.getLogger(__name__)
router = APIRouter()

OBJECTS: Final = ObjectsFace()
UNAUTHORIZED: Final = 4401
FOREIGN_ORIGIN: Final = 4403
TOO_LARGE: Final = 1009
NORMAL: Final = 1000
MAX_REF: Final = 2**53 - 1
"""The largest integer that every client's JSON holds exactly."""


Ref = Annotated[str, Field(max_length=255)] | Annotated[int, Field(ge=-MAX_REF, le=MAX_REF)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    ref: Ref | None = Field(default=None, description="the answer repeats it")


class Auth(_Message):
    """The key, where it did not come as a header."""

    type: Literal["auth"]
    key: str


class Start(_Message):
    """Start a generation."""

    type: Literal["start"]
    request: GenerationRequest
    idempotency_key: str | None = Field(default=None, max_length=255)
    tail: bool = True


class Follow(_Message):
    """Send a stream's entries behind `after`."""

    type: Literal["tail"]
    id: str
    after: int = Field(default=0, ge=0, le=10**15 - 1)


class About(_Message):
    """Leave or cancel a stream."""

    type: Literal["leave", "cancel"]
    id: str


class Ping(_Message):
    """Ask for a `pong`."""

    type: Literal["ping"]


Message = Auth | Start | Follow | About | Ping
MESSAGES: Final[TypeAdapter[Message]] = TypeAdapter(Annotated[Message, Field(discriminator="type")])


@router.websocket("/v1/ws")
async def serve(socket: WebSocket) -> None:
    """Serve one socket until either side closes it."""
    house: House = socket.app.state.house
    await socket.accept()
    # A page has no key unless it was given one; without keys, its origin is all there is to tell it by.
    if not house.settings.tenants_by_key and is_foreign(socket, house.settings):
        await socket.close(FOREIGN_ORIGIN, "a page of another origin needs a key")
        return
    outbox = Outbox(socket, house.settings.send_timeout_ms / 1000)
    conversation = _Conversation(house, outbox)
    sending = asyncio.create_task(outbox.run(), name="socket out")
    hearing = asyncio.create_task(conversation.run(socket), name="socket in")
    try:
        await asyncio.wait((sending, hearing), return_when=asyncio.FIRST_COMPLETED)
    finally:
        conversation.drop()
        for task in (sending, hearing):
            task.cancel()
        _, heard = await asyncio.gather(sending, hearing, return_exceptions=True)
    code = heard if isinstance(heard, int) else 1011
    with contextlib.suppress(RuntimeError, WebSocketDisconnect, OSError):
        await socket.close(code)


class _Conversation:
    """What one client says, and its tails."""

    def __init__(self, house: House, outbox: Outbox) -> None:
        self._house = house
        self._outbox = outbox
        self._sinks: dict[str, SocketSink] = {}
        self._tenant = ""

    async def run(self, socket: WebSocket) -> int:
        """Answer until the client goes; return the code to close with."""
        refused = await self._enter(socket)
        while refused is None:
            said = await _heard(socket)
            if said is None:
                return NORMAL
            if len(said) > self._house.settings.max_body_bytes:
                return TOO_LARGE
            message = await self._understood(said)
            if message is None:
                continue
            try:
                await self._act(message)
            except Exception as error:  # noqa: BLE001 - every refusal is an answer
                await self._refuse(_logged(error), message)
        return refused

    async def _enter(self, socket: WebSocket) -> int | None:
        """Find out who asks; return None if it is known, else the code to close with.

        Whoever has shown no key costs us a small message and a short wait, no more.
        """
        settings = self._house.settings
        try:
            self._tenant = await tenant(socket)
        except Problem as problem:
            if not {"authorization", "x-api-key"}.isdisjoint(socket.headers):
                await self._refuse(problem)
                return UNAUTHORIZED
        else:
            _take_large(socket)
            await self._outbox.answer(type="ready")
            return None
        try:
            async with asyncio.timeout(settings.ws_auth_s):
                while True:
                    said = await _heard(socket)
                    if said is None:
                        return NORMAL
                    if len(said) > settings.ws_auth_bytes:
                        return TOO_LARGE
                    message = await self._understood(said)
                    if message is not None:
                        break
        except TimeoutError:
            await self._refuse(Problem(401, "unauthorized", f"No key came within {settings.ws_auth_s:g} s: auth."))
            return UNAUTHORIZED
        if not self._admit(message):
            await self._refuse(Problem(401, "unauthorized", "Send a known key first: auth."), message)
            return UNAUTHORIZED
        _take_large(socket)
        await self._act(message)
        return None

    async def _understood(self, said: str | bytes) -> Message | None:
        """Return a message, or None where it was refused."""
        try:
            return MESSAGES.validate_python(_read(said, self._house.settings.max_depth))
        except Problem as problem:
            await self._refuse(problem)
        except ValidationError as error:
            await self._refuse(_misfit(error))
        return None

    def drop(self) -> None:
        """Close all tails."""
        for sink in tuple(self._sinks.values()):
            sink.drop()

    def _admit(self, message: Message) -> bool:
        if isinstance(message, Auth):
            self._tenant = known_tenant(self._house.settings, message.key.encode()) or ""
        return bool(self._tenant)

    async def _act(self, message: Message) -> None:
        match message:
            case Auth(ref=ref):
                await self._outbox.answer(type="ready", ref=ref)
            case Ping(ref=ref):
                await self._outbox.answer(type="pong", ref=ref)
            case Start():
                await self._start(message)
            case Follow(id=stream_id, ref=ref):
                await self._follow(stream_id, message.after, {"type": "tailing", "id": stream_id, "ref": ref})
            case About(type="leave", id=stream_id):
                if sink := self._sinks.pop(stream_id, None):
                    sink.drop()
                await self._outbox.answer(type="closed", id=stream_id, ref=message.ref)
            case About(id=stream_id, ref=ref):
                state = await streams.cancel(self._house, self._tenant, stream_id)
                told = {"status": state.status, "outcome": state.outcome or None}
                await self._outbox.answer(type="cancelling", id=stream_id, ref=ref, **told)

    async def _start(self, message: Start) -> None:
        self._check_room("")
        key = message.idempotency_key or None
        stream_id, created = await streams.start(self._house, self._tenant, message.request, key)
        answer = {"type": "started", "id": stream_id, "created": created, "ref": message.ref}
        if message.tail:
            await self._follow(stream_id, 0, answer)
        else:
            await self._outbox.answer(**answer)

    async def _follow(self, stream_id: str, after: int, answer: dict[str, Any]) -> None:
        self._check_room(stream_id)
        sink = SocketSink(self._outbox, stream_id, lambda sink: self._forget(stream_id, sink))
        async with streams.follow(self._house, self._tenant, stream_id, after) as follower:
            if after + 1 < follower.first:
                detail = f"The entries before offset {follower.first} are gone."
                raise Problem(410, "cursor_trimmed", detail, id=stream_id, first_offset=follower.first)
            ahead = after > follower.tail
            sink.tail = follower.join(OBJECTS, after)
        before = self._sinks.get(stream_id)
        self._sinks[stream_id] = sink
        if before is not None:
            before.drop()
        await self._outbox.answer(**answer)
        sink.tail.begin(sink, "cursor_ahead" if ahead else None)

    def _check_room(self, stream_id: str) -> None:
        limit = self._house.settings.ws_max_tails
        if stream_id not in self._sinks and len(self._sinks) >= limit:
            detail = f"A socket has at most {limit} tails (MIDSTREAM_WS_MAX_TAILS)."
            raise Problem(429, "too_many_tails", detail, limit=limit)

    def _forget(self, stream_id: str, sink: SocketSink) -> None:
        if self._sinks.get(stream_id) is sink:
            del self._sinks[stream_id]

    async def _refuse(self, problem: Problem, message: Message | None = None) -> None:
        facts = {"id": getattr(message, "id", None), "ref": message.ref if message else None} | problem.facts
        await self._outbox.answer(type="error", code=problem.code, message=problem.detail, **facts)


def _take_large(socket: WebSocket) -> None:
    protocol = socket.scope.get("extensions", {}).get(EXTENSION)
    if protocol is not None:
        protocol.admit()


async def _heard(socket: WebSocket) -> str | bytes | None:
    """Return the next message, or None where the client has gone."""
    heard = await socket.receive()
    if heard["type"] == "websocket.disconnect":
        return None
    said: str | bytes = heard.get("text") or heard.get("bytes") or b""
    return said


def _read(said: str | bytes, max_depth: int) -> Any:
    """Return what a message holds.

    Raises:
        Problem: `body_too_deep`, or `bad_message`: it cannot be read.
    """
    try:
        return read_json(said if isinstance(said, bytes) else said.encode(), max_depth)
    except Problem as problem:
        if problem.code == "body_too_deep":
            raise
        raise Problem(400, "bad_message", "The message cannot be read.", **problem.facts) from None


def _misfit(error: ValidationError) -> Problem:
    where = misfit(error.errors()).facts
    return Problem(400, "bad_message", "There is no such message; see PROTOCOL: WebSocket.", **where)


def _logged(error: Exception) -> Problem:
    problem = problem_of(error)
    if problem.code == "internal":
        logger.error("a message could not be answered", exc_info=error)
    return problem
