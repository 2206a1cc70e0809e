"""Readers of the formats: what a client makes of the frames of a face, in a form that is the same for all."""

import re
from dataclasses import dataclass

import orjson

from midstream.log.entries import COMPLETED, Json

Documents = list[Json]
BLOCK_TYPES = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "thinking",
    "input_json_delta": "tool_use",
}
FIELD_LINE = re.compile(r"(id|event|data|retry): .+|:")


@dataclass
class Reading:
    """What a client makes of the frames that it was sent."""

    text: str = ""
    successes: int = 0
    failures: int = 0


def read_entries(documents: Documents) -> Reading:
    """Read what the native face and the socket send: the entries themselves."""
    reading = Reading()
    for document in documents:
        match document:
            case {"type": "text", "text": text}:
                reading.text += text
            case {"type": "reset"}:
                reading.text = ""
            case {"type": "end", "outcome": outcome}:
                reading.successes += outcome == COMPLETED
                reading.failures += outcome != COMPLETED
    return reading


def read_chat(documents: Documents) -> Reading:
    reading = Reading()
    for document in documents:
        match document:
            case {"choices": [{"delta": {"content": text}}]}:
                reading.text += text
            case {"error": _}:
                reading.failures += 1
            case {"type": "[DONE]"}:
                reading.successes += 1
    return reading


def read_messages(documents: Documents) -> Reading:
    """Read a message; deltas go into an open block of their type, and none but calls are open beside another."""
    reading = Reading()
    open_blocks: dict[int, str] = {}
    for document in documents:
        match document:
            case {"type": "content_block_start", "index": index, "content_block": {"type": block_type}}:
                assert {*open_blocks.values()} <= {"tool_use"}
                open_blocks[index] = block_type
            case {"type": "content_block_delta", "index": index, "delta": {"type": delta_type, **delta}}:
                assert BLOCK_TYPES[delta_type] == open_blocks[index]
                reading.text += str(delta.get("text", ""))
            case {"type": "content_block_stop", "index": index}:
                del open_blocks[index]
            case {"type": "error"}:
                reading.failures += 1
            case {"type": "message_stop"}:
                assert not open_blocks
                reading.successes += 1
    return reading


def read_responses(documents: Documents) -> Reading:
    """Read a response; every event of an item comes while that is open. What its output lacks was taken back."""
    reading = Reading()
    texts: dict[str, str] = {}
    open_items: set[str] = set()
    for number, document in enumerate(documents):
        assert document["type"] == "error" or document["sequence_number"] == number
        assert document.get("item_id") in {*open_items, None}
        match document:
            case {"type": "response.output_item.added", "item": item}:
                open_items.add(item["id"])
            case {"type": "response.output_item.done", "item": item}:
                open_items.remove(item["id"])
            case {"type": "response.output_text.delta", "item_id": item_id, "delta": text}:
                texts[item_id] = texts.get(item_id, "") + text
            case {"type": "response.completed" | "response.incomplete", "response": {"output": output}}:
                assert not open_items
                reading.successes += 1
                reading.text = "".join(texts.get(item["id"], "") for item in output)
            case {"type": "response.failed" | "error"}:
                reading.failures += 1
    return reading


def read_ui_messages(documents: Documents) -> Reading:
    """Read a message; every delta of a text goes into the part that is open."""
    reading = Reading()
    part_id = None
    for document in documents:
        match document:
            case {"type": "text-start" | "reasoning-start", "id": part_id}:
                pass
            case {"type": "text-delta" | "reasoning-delta", "id": delta_id, "delta": text}:
                assert delta_id == part_id
                reading.text += text if document["type"] == "text-delta" else ""
            case {"type": "text-end" | "reasoning-end"}:
                part_id = None
            case {"type": "reset-step"}:
                reading.text = ""
            case {"type": "finish"}:
                reading.successes += 1
            case {"type": "error" | "abort"}:
                reading.failures += 1
    return reading


def documents_of_events(sent: bytes) -> Documents:
    """Return the data of server-sent events, which are whole and have no field that a client does not know."""
    if not sent:
        return []
    assert sent.endswith(b"\n\n")
    lines = sent.decode().split("\n")
    assert all(FIELD_LINE.fullmatch(line) for line in lines if line)
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    return [{"type": "[DONE]"} if document == "[DONE]" else orjson.loads(document) for document in data]


def documents_of_list(sent: bytes) -> Documents:
    documents: Documents = orjson.loads(b"[" + sent.removesuffix(b",") + b"]")
    return documents
