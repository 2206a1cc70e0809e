"""Responses that were started before, whichever door started them: found by their id."""

from typing import Final

import orjson

from midstream.faces.responses import ResponsesFace
from midstream.http.peers import dialect
from midstream.http.peers.dialect import Json
from midstream.http.responses.responses_request import whole_echo
from midstream.log.errors import StreamAbsent
from midstream.log.keys import ID_CHARS
from midstream.log.state import State
from midstream.requests.request import GenerationRequest
from midstream.service import streams
from midstream.service.services import House

PREFIX: Final = "resp_"


def face_of(stream_id: str, state: State, origin: Json) -> ResponsesFace:
    """Return the face of a stream, whichever face started it."""
    echo = origin.get("echo") or {
        "model": origin.get("model", state.model),
        "metadata": orjson.loads(state.metadata),
    }
    return ResponsesFace(
        stream_id,
        state.created_ms,
        orjson.dumps(whole_echo(echo)),
        background=origin.get("background", False),
        encrypted=origin.get("encrypted", False),
    )


async def found(house: House, tenant: str, response_id: str) -> tuple[str, State, ResponsesFace]:
    """Return a tenant's response; raises `StreamAbsent` also where it was not to be stored."""
    stream_id = response_id.removeprefix(PREFIX)
    if len(response_id) != len(PREFIX) + ID_CHARS or stream_id == response_id:
        raise StreamAbsent(response_id)
    state = await streams.find(house, tenant, stream_id)
    origin = await dialect.origin_of(house, stream_id)
    if origin.get("echo", {}).get("store") is False:
        raise StreamAbsent(response_id)
    return stream_id, state, face_of(stream_id, state, origin)


async def given(house: House, stream_id: str) -> list[Json]:
    """Return what a stream was started with but for what its door put `before` and `behind`: orders of that turn."""
    origin = await dialect.origin_of(house, stream_id)
    items = GenerationRequest.model_validate_json(await house.log.request(stream_id)).as_items()
    return items[origin.get("before", 0) : len(items) - origin.get("behind", 0)]
