"""A conversation summarised, so that it can go on from less (PROTOCOL: Responses/Compact)."""

from collections.abc import Iterator
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from midstream.faces.responses_output import INCOMPLETE
from midstream.faces.token_usage import responses_usage
from midstream.http.peers.generations import completed_answer
from midstream.http.problems import Problem
from midstream.http.responses.input_items import as_items, input_items
from midstream.http.responses.past_responses import PREFIX, input_of
from midstream.http.responses.responses_request import items_of
from midstream.log.answer import Answer
from midstream.log.entries import Json
from midstream.requests.summaries import COMPACTION, sealed
from midstream.service.stream_handle import StreamHandle

FACE: Final = "compaction"

ORDER: Final = (
    "Summarise the conversation above, so that it can be continued from your summary and the user's own messages "
    "alone: everything else is forgotten. Keep what was asked for and what still holds of it, decisions and their "
    "reasons, facts, names, figures and code that may be needed again, what tools were called for and what they gave, "
    "what is done, and what is to be done next. Answer no question and go on with no task: write the summary only."
)
"""What is asked of the model, after the conversation."""

# These params would shape an answer, but what the model is to write is a summary.
_OF_ANSWERS: Final = frozenset(("tools", "tool_choice", "parallel_tool_calls", "text", "include"))
# OpenAI's shape needs figures, and some providers give none.
_UNCOUNTED: Final = {"input_tokens": 0, "output_tokens": 0}


class CompactRequest(BaseModel):
    """A conversation to compact. The provider judges fields that are not named here."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(max_length=200)
    input: str | list[dict[str, Any]] | None = None
    instructions: str | None = None
    previous_response_id: str | None = Field(default=None, max_length=100)
    store: bool | None = None

    @property
    def params(self) -> Json:
        """What is passed on to the provider."""
        params = {**(self.model_extra or {}), **self.model_dump(include={"store"}, exclude_none=True)}
        return {name: value for name, value in params.items() if name not in _OF_ANSWERS}

    @property
    def items(self) -> list[Json]:
        """The input as items."""
        return items_of(self.input or [])


def conversation(items: list[Json]) -> list[Json]:
    """Return a conversation as a model without its tools can read it: calls and results in words.

    Providers refuse calls without tools, and calls without results.
    """
    return [message for item in items for each in as_items(item) for message in _in_messages(each)]


async def compaction_object(stream: StreamHandle) -> Json:
    """Return what an ended compaction is answered with.

    Raises:
        Problem: It failed, or there is no whole summary.
    """
    answer = await completed_answer(stream)
    output = await compacted_output(stream, answer)
    usage = (answer.end or {}).get("usage")
    return {
        "id": f"{PREFIX}{stream.id}",
        "object": "response.compaction",
        "created_at": stream.state.created_ms // 1000,
        "output": output,
        "usage": responses_usage(usage or _UNCOUNTED),
    }


async def compacted_output(stream: StreamHandle, answer: Answer) -> list[Json]:
    """Return what a compaction leaves: all messages that are not the model's, and the summary.

    Raises:
        Problem: 502 `compaction_incomplete`: there is no whole summary.
    """
    reason = (answer.end or {}).get("finish_reason")
    if not answer.text or reason in (*INCOMPLETE, "refusal"):
        headers = {"Stream-Id": stream.id, "x-should-retry": "false"}  # a retry would join the same failure
        detail = f"The model gave no whole summary: it ended with {reason!r}."
        raise Problem(502, "compaction_incomplete", detail, headers=headers)
    items = input_items(stream.id, await input_of(stream))
    others = [item for item in items if item.get("type") == "message" and item.get("role") != "assistant"]
    messages = [{**item, "id": f"msg_{stream.id}_{number}"} for number, item in enumerate(others)]
    summary = {"type": COMPACTION, "id": f"cmp_{stream.id}_{len(others)}", "encrypted_content": sealed(answer.text)}
    return [*messages, summary]


def _in_messages(item: Json) -> Iterator[Json]:
    match item:
        case {"type": "message", "role": role, "content": content}:
            yield {"role": role, "content": content}
        case {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}:
            yield {"role": "assistant", "content": f"[Called {name} with {arguments}; the call is {call_id}]"}
        case {"type": "function_call_output", "call_id": call_id, "output": output}:
            yield {"role": "assistant", "content": f"[The call {call_id} gave: {_in_words(output)}]"}
        case {"type": "reasoning"}:
            return
        case _:  # a summary, or an item of the provider's own
            yield item


def _in_words(output: Any) -> str:
    """Return a tool's output as text; what it holds beside text is named."""
    if not isinstance(output, list):
        return str(output)
    return " ".join(str(part.get("text") or f"({part.get('type')})") for part in output if isinstance(part, dict))
