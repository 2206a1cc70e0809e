"""A conversation so far, rebuilt from our own log (PROTOCOL: Responses/Previous)."""

from midstream.http.peers.generations import completed_answer
from midstream.http.problems import Problem
from midstream.http.responses.compaction import FACE, compacted_output
from midstream.http.responses.past_responses import find_response, input_of, state_of
from midstream.log.entries import Json
from midstream.log.errors import StreamAbsent
from midstream.service.caller import Caller


async def history(caller: Caller, response_id: str | None) -> list[Json]:
    """Return the conversation up to the end of an earlier response; empty where none is named.

    Raises:
        Problem: 400, 404: There is no such response, or it has not ended.
    """
    if not response_id:
        return []
    try:
        stream, face = await find_response(caller, response_id)
    except StreamAbsent:
        detail = f"Previous response with id '{response_id}' not found."
        raise Problem(404, "previous_response_not_found", detail, param="previous_response_id") from None
    if not stream.state.ended:
        detail = "The previous response has not ended yet."
        raise Problem(400, "bad_request", detail, param="previous_response_id")
    if (await stream.origin()).get("face") == FACE:
        return await compacted_output(stream, await completed_answer(stream))
    output = face.resource(await state_of(stream, face))["output"]
    return [*await input_of(stream), *(message for item in output for message in _as_input(item))]


def _as_input(item: Json) -> list[Json]:
    """Return an output item as input of the next turn; its reasoning is left out, because the provider remembers it."""
    match item:
        case {"type": "message", "content": content}:
            text = "".join(part.get("text") or part.get("refusal") or "" for part in content)
            return [{"role": "assistant", "content": text}] if text else []
        case {"type": "function_call", "status": "completed", "call_id": call_id, "name": name, "arguments": arguments}:
            return [{"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}]
    return []
