"""A stream as its clients are sent it, in each dialect, for operators (PROTOCOL: Operate/Frames)."""

from enum import StrEnum
from typing import Any

import orjson

from midstream.access.refusals import ContentForbiddenError
from midstream.faces.chat import ChatFace
from midstream.faces.face import Face
from midstream.faces.messages import MessagesFace
from midstream.faces.native import NativeFace
from midstream.faces.responses import ResponsesFace
from midstream.faces.ui_messages import UiMessagesFace
from midstream.log.entries import Json
from midstream.log.errors import LogTrimmed, StreamAbsent
from midstream.log.state import State
from midstream.operate.operator import Operator


class Dialect(StrEnum):
    """A wire format that clients read streams in."""

    NATIVE = "native"
    RESPONSES = "responses"
    CHAT = "chat"
    MESSAGES = "messages"
    UI = "ui"


async def frames(operator: Operator, tenant: str, stream_id: str, dialect: Dialect) -> Json:
    """Return what a client is sent for the first `page_limit` entries, and how far the log goes.

    Raises:
        StreamAbsent: There is none that the operator reaches.
        LogTrimmed: The first entries are gone, and with them the frames that begin.
        ContentForbiddenError: Operators may not read content here.
        LogUnavailable: Redis did not answer.
    """
    if not operator.settings.operators_read:
        raise ContentForbiddenError
    name = operator.name_of(tenant, stream_id)
    state, page = await operator.resources.log.read_timed(name, 0, operator.settings.page_limit)
    if state is None:
        raise StreamAbsent(stream_id)
    if state.first > 1:
        raise LogTrimmed(state.first)
    face = _face(dialect, stream_id, state)
    memory = face.begin()
    made: list[bytes] = []
    for entry, _ in page:
        frame, memory = face.frame(entry, memory)
        made.append(frame)
    upto = page[-1].entry.offset if page else 0
    return {"dialect": dialect, "frames": b"".join(made).decode(), "upto": upto, "tail": state.tail}


def _face(dialect: Dialect, stream_id: str, state: State) -> Face[Any]:
    match dialect:
        case Dialect.NATIVE:
            return NativeFace()
        case Dialect.RESPONSES:
            echo = {"model": state.model, "metadata": orjson.loads(state.metadata)}
            return ResponsesFace(stream_id, state.created_ms, orjson.dumps(echo).decode())
        case Dialect.CHAT:
            return ChatFace(stream_id, state.created_ms, state.model, include_usage=True)
        case Dialect.MESSAGES:
            return MessagesFace(stream_id, state.model)
        case Dialect.UI:
            return UiMessagesFace(message_id=f"msg-{stream_id}", tag=stream_id[:8])
