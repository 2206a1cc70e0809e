"""The rule of every dialect that a tool call is followed by its result, and no result comes without its call."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

Json = dict[str, Any]


def chat_pairs(messages: list[Json]) -> Iterator[str]:
    """Yield what breaks the rule in the messages of a chat completion."""
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                yield "Messages with role 'tool' must be a response to a preceding message with 'tool_calls'."
                return
            waiting.remove(message["tool_call_id"])
            continue
        if waiting:
            break
        waiting = [call["id"] for call in message.get("tool_calls") or ()]
    if waiting:
        yield (
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(waiting)}"
        )


def response_pairs(items: list[Json]) -> Iterator[str]:
    """Yield what breaks the rule in the input of a response."""
    called = [item["call_id"] for item in items if item.get("type") == "function_call"]
    answered = [item["call_id"] for item in items if item.get("type") == "function_call_output"]
    yield from (f"No tool output found for function call {call_id}." for call_id in called if call_id not in answered)
    yield from (
        f"No tool call found for function call output with call_id {call_id}."
        for call_id in answered
        if call_id not in called
    )


def message_pairs(messages: list[Json]) -> Iterator[str]:
    """Yield what breaks the rule in Anthropic's messages; those of one role in a row are one to it."""
    called: list[str] = []
    for role, spoken in groupby(enumerate(messages), lambda numbered: str(numbered[1]["role"])):
        numbers, blocks = zip(*((number, _blocks(message)) for number, message in spoken), strict=True)
        parts = [block for some in blocks for block in some]
        answered = [part["tool_use_id"] for part in parts if part["type"] == "tool_result"]
        if missing := [call_id for call_id in called if call_id not in answered]:
            yield _unanswered(numbers[0], missing)
        if lost := [call_id for call_id in answered if call_id not in called]:
            why = f"unexpected `tool_use_id` found in `tool_result` blocks: {lost[0]}"
            yield f"messages.{numbers[0]}.content.0: {why}"
        called = [part["id"] for part in parts if part["type"] == "tool_use"] if role == "assistant" else []
    if called:
        yield _unanswered(len(messages) - 1, called)


def _unanswered(number: int, called: list[str]) -> str:
    ids = ", ".join(called)
    return f"messages.{number}: `tool_use` ids were found without `tool_result` blocks immediately after: {ids}"


def _blocks(message: Json) -> list[Json]:
    return message["content"] if isinstance(message["content"], list) else []
