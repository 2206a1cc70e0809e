"""The verbs of an external producer on a WebSocket (PROTOCOL: Ws/Producers)."""

from typing import Any

from midstream.http.producing import SealRequest, append, begin, renew, seal
from midstream.http.socket.ws_messages import Append, Lease, Produce, Producing, Seal
from midstream.service.caller import Caller


async def act(caller: Caller, message: Producing) -> dict[str, Any]:
    """Do what a producer asks, and return the answer; raises what the routes of `/v1/streams/{id}` raise."""
    match message:
        case Produce():
            key = message.idempotency_key or None
            start = begin(caller, message.request, key, message.owner, take_up=message.take_up)
            stream, is_new, fence = await start
            state = stream.state
            facts = {"created": is_new, "epoch": state.epoch, "tail": state.tail, "status": state.status}
            return {"type": "producing", "id": stream.id, **facts, **fence, "ref": message.ref}
        case Append(tail=tail):
            kind, facts = "appended", await append(caller, *_fence(message), tail, message.entries)
        case Lease():
            kind, facts = "leased", await renew(caller, *_fence(message))
        case Seal(tail=tail):
            how = SealRequest.model_validate(message.model_dump(include=set(SealRequest.model_fields)))
            kind, facts = "sealed", await seal(caller, *_fence(message), tail, how)
    return {"type": kind, "id": message.id, **facts, "ref": message.ref}


def _fence(message: Append | Lease | Seal) -> tuple[str, int, str]:
    return message.id, message.epoch, message.owner
