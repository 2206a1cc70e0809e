"""UI messages become chat messages: what a model can read of them (PROTOCOL: The AI SDK face)."""

from typing import Any

from midstream.http.ai_sdk.ui_request import ChatRequest

TOOL = {"type": "tool-weather", "toolCallId": "c1", "input": {"city": "Bern"}}
MESSAGES: list[dict[str, Any]] = [
    {"id": "s", "role": "system", "parts": [{"type": "text", "text": "Be brief."}]},
    {"id": "u1", "role": "user", "parts": [{"type": "text", "text": "Weather?"}]},
    {
        "id": "a1",
        "role": "assistant",
        "parts": [
            {"type": "step-start"},
            {"type": "reasoning", "text": "hm"},
            {"type": "text", "text": "I look."},
            {**TOOL, "state": "output-available", "output": {"degrees": 7}},
            {
                "type": "dynamic-tool",
                "toolName": "x",
                "toolCallId": "c2",
                "state": "output-error",
                "errorText": "no",
            },
            {**TOOL, "toolCallId": "c3", "state": "input-streaming"},
            {"type": "step-start"},
            {"type": "data-mood", "data": 1},
            {"type": "text", "text": "7 degrees."},
        ],
    },
    {
        "id": "u2",
        "role": "user",
        "parts": [
            {"type": "text", "text": "And this?"},
            {"type": "file", "mediaType": "image/png", "url": "data:image/png;base64,aGk="},
            {
                "type": "file",
                "mediaType": "application/pdf",
                "url": "https://example.org/a.pdf",
                "filename": "a.pdf",
            },
        ],
    },
]
CHAT_MESSAGES = [
    {"role": "system", "content": "First."},
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Weather?"},
    {
        "role": "assistant",
        "content": "I look.",
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bern"}'}},
            {"id": "c2", "type": "function", "function": {"name": "x", "arguments": "{}"}},
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": '{"degrees":7}'},
    {"role": "tool", "tool_call_id": "c2", "content": "no"},
    {"role": "assistant", "content": "7 degrees."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "And this?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
            {"type": "file", "file": {"file_data": "https://example.org/a.pdf", "filename": "a.pdf"}},
        ],
    },
]


def test_ui_messages_become_chat_messages() -> None:
    request = ChatRequest.model_validate({"id": "c", "messages": MESSAGES, "system": "First.", "webSearch": True})
    assert request.generation().messages == CHAT_MESSAGES


def test_a_regenerated_answer_is_not_shown_to_the_model() -> None:
    again = ChatRequest.model_validate({"id": "c", "messages": MESSAGES[:3], "trigger": "regenerate-message"})
    assert again.generation().messages == CHAT_MESSAGES[1:3]


def test_equal_requests_have_equal_digests() -> None:
    one, same, other = (
        ChatRequest.model_validate({"id": "c", "messages": MESSAGES, "webSearch": extra, "model": model})
        for extra, model in ((True, None), (False, None), (True, "demo/count"))
    )
    assert one.digest == same.digest != other.digest
