"""A conversation so far, rebuilt from our own log (PROTOCOL: Responses/Previous)."""

from midstream.http.peers import dialect
from midstream.http.peers.dialect import Json
from midstream.http.problems import Problem
from midstream.http.responses.compaction import FACE, window
from midstream.http.responses.past_responses import found, given
from midstream.log.errors import StreamAbsent
from midstream.service import answers
from midstream.service.services import House


async def history(house: House, tenant: str, response_id: str) -> list[Json]:
    """Return the conversation up to the end of an earlier response.

    Raises:
        Problem: 400, 404: There is no such response, or it has not ended.
    """
    try:
        stream_id, state, face = await found(house, tenant, response_id)
    except StreamAbsent:
        detail = f"Previous response with id '{response_id}' not found."
        raise Problem(404, "previous_response_not_found", detail, param="previous_response_id") from None
    if not state.ended:
        detail = "The previous response has not ended yet."
        raise Problem(400, "bad_request", detail, param="previous_response_id")
    if (await dialect.origin_of(house, stream_id)).get("face") == FACE:
        return await window(house, stream_id, await dialect.completed(house, stream_id))
    course, *_ = await answers.response(house, stream_id, face)
    said = [item for shown in face.resource(course)["output"] for item in _as_input(shown)]
    return [*await given(house, stream_id), *said]


def _as_input(item: Json) -> list[Json]:
    """Return an output item as input of the next turn; reasoning is the provider's own to remember."""
    match item:
        case {"type": "message", "content": content}:
            text = "".join(part.get("text") or part.get("refusal") or "" for part in content)
            return [{"role": "assistant", "content": text}] if text else []
        case {"type": "function_call", "status": "completed", "call_id": call_id, "name": name, "arguments": arguments}:
            return [{"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}]
    return []
