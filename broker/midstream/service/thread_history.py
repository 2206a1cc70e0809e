"""The request of a start that goes on with its thread (PROTOCOL: Threads/Continue)."""

import asyncio
from typing import Final

from midstream.access.grant import Grant, Scope
from midstream.log.entries import COMPLETED, Json
from midstream.log.errors import LogTrimmed, StreamAbsent
from midstream.log.keys import stream_name
from midstream.log.reading import read_entries
from midstream.requests.continuation import Budget, NoTokenizerError, chars_of, continued
from midstream.requests.conversation import SYSTEM, new_messages
from midstream.requests.model_messages import ModelMessages
from midstream.requests.request import GenerationRequest, Trim
from midstream.requests.turns import read_turn
from midstream.service.resources import Resources

ROWS: Final = 20
"""Streams that are looked up in one round trip."""


async def with_history(resources: Resources, grant: Grant, request: GenerationRequest) -> GenerationRequest:
    """Return the request with the conversation so far, if it asks for it: that of its thread's completed streams.

    Raises:
        InsufficientScopeError: The credential does not read.
        NoTokenizerError: Its budget has tokens, and this broker cannot count any.
        TrimError: What must be sent exceeds the budget.
        LogUnavailable: Redis did not answer.
    """
    if not request.continue_thread:
        return request
    grant.require(Scope.READ)
    budget = _budget(resources, request.trim or Trim())
    items = request.as_messages()
    new = [item for item in items if read_turn(item).role != SYSTEM]
    system, history = await _history(resources, grant, request.thread or "", budget)
    own = [item for item in items if read_turn(item).role == SYSTEM]
    parts = own or system, history, new, budget
    # To count them takes about 0.1 s for 100,000 characters, during which other requests go on.
    sent = continued(*parts) if budget.tokens is None else await asyncio.to_thread(continued, *parts)
    update = {"messages": sent, "input": None, "continue_thread": None, "trim": None}
    return request.model_copy(update=update)


def _budget(resources: Resources, trim: Trim) -> Budget:
    most_chars = resources.settings.thread_context_chars
    chars = min(most_chars, trim.max_chars or most_chars)
    if trim.max_tokens is None:
        return Budget(trim.max_messages, chars)
    if resources.tokens_of is None:
        raise NoTokenizerError("This broker counts no tokens (MIDSTREAM_TOKENIZER). `max_chars` needs no tokenizer.")
    return Budget(trim.max_messages, chars, trim.max_tokens, resources.tokens_of)


async def _history(resources: Resources, grant: Grant, thread: str, budget: Budget) -> tuple[list[Json], list[Json]]:
    """Return the system messages of the last completed stream that has any, and at least what the budget permits."""
    system: list[Json] = []
    history: list[Json] = []
    history_chars = 0
    before: int | None = None
    while rows := await resources.threads.last(grant.owner, thread, before, ROWS):
        before = rows[-1].created_ms
        names = [stream_name(grant.tenant, row.stream_id) for row in rows]
        for name, state in zip(names, await resources.log.states(names), strict=True):
            if state is None or state.outcome != COMPLETED:
                continue
            try:
                prompt, answer = await _turn(resources, name)
            except (LogTrimmed, StreamAbsent):
                continue
            system = system or [item for item in prompt if read_turn(item).role == SYSTEM]
            added = [*new_messages(prompt), *answer]
            history = [*added, *history]
            history_chars += chars_of(added)
            if not budget.permits(len(history), history_chars):
                return system, history
    return system, history


async def _turn(resources: Resources, name: str) -> tuple[list[Json], list[Json]]:
    """Return the prompt of a stream, and the model's messages as they are sent back to a model."""
    model = ModelMessages()
    async for entry in read_entries(resources.log, name):
        model.add(entry)
    request = GenerationRequest.model_validate_json(await resources.log.request(name))
    return request.as_messages(), [_sent_back(message) for message in model.messages()]


def _sent_back(message: Json) -> Json:
    kept: Json = {
        str(each): message[each] for each in ("role", "content", "tool_calls", "tool_call_id") if each in message
    }
    return kept | {"content": message.get("content") or message.get("refusal") or ""}
