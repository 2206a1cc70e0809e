"""Makes JSON values of bytes, so that a fuzzer's bytes are bodies that come far into a reader."""

from collections.abc import Callable
from typing import Any, Final

# Field names, types and words of the dialects, beside names of nothing.
NAMES: Final = (
    *("model", "messages", "input", "params", "role", "content", "type", "text", "id", "name", "tools", "tool_choice"),
    *(
        "image_url",
        "url",
        "file",
        "file_data",
        "file_id",
        "filename",
        "source",
        "data",
        "media_type",
        "detail",
        "file_url",
    ),
    *("tool_calls", "tool_call_id", "function", "arguments", "call_id", "output", "is_error", "tool_use_id", "summary"),
    *("encrypted_content", "signature", "thinking", "refusal", "annotations", "status", "metadata", "thread", "user"),
    *("stream", "stream_options", "include_usage", "store", "background", "previous_response_id", "instructions"),
    *("reasoning", "effort", "format", "schema", "n", "modalities", "logprobs", "top_logprobs", "max_tokens", "system"),
    *("chunking", "flush_ms", "ttl_s", "idle_timeout_s", "on_worker_loss", "retry", "include", "truncation", "betas"),
    *("parts", "state", "toolCallId", "toolName", "rawInput", "errorText", "mediaType", "trigger", "messageId"),
    *(
        "scopes",
        "ref",
        "key",
        "request",
        "after",
        "tail",
        "idempotency_key",
        "parameters",
        "container",
        "prompt",
        "x",
        "",
    ),
)
WORDS: Final = (
    *("user", "assistant", "system", "developer", "tool", "text", "input_text", "output_text", "image_url", "image"),
    *("input_image", "input_file", "file", "document", "base64", "url", "tool_use", "tool_result", "function_call"),
    *("function_call_output", "function", "custom", "message", "reasoning", "compaction", "compaction_trigger"),
    *("item_reference", "thinking", "redacted_thinking", "refusal", "input_audio", "demo/count", "openai/gpt", "auto"),
    *("anthropic/claude", "submit-message", "regenerate-message", "tool-call", "dynamic-tool", "output-available"),
    *("output-error", "output-denied", "step-start", "image/png", "data:image/png;base64,AAAA", "http://x/", "start"),
    *(
        "auth",
        "tail",
        "leave",
        "cancel",
        "ping",
        "read",
        "stop",
        "midstream-1.00000000.AAAA",
        "{}",
        "[",
        "\x00",
        "\ud800",
    ),
)


class Draw:
    """Takes bytes one after the other; when there are no more, everything is the simplest."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def byte(self) -> int:
        """Return the next byte."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def one_of(self, choices: tuple[Any, ...]) -> Any:
        """Return one of these."""
        return choices[self.byte() % len(choices)]

    def text(self) -> str:
        """Return a few characters, most of them odd."""
        length = self.byte() % 12
        taken = self._data[self._at : self._at + length]
        self._at += length
        return taken.decode("latin-1")

    def value(self, depth: int = 6) -> Any:
        """Return a JSON value."""
        makers: tuple[Callable[[], Any], ...] = (
            lambda: self.one_of(WORDS),
            lambda: self.body(depth - 1),
            lambda: [self.value(depth - 1) for _ in range(self.byte() % 4)],
            lambda: self.one_of((None, True, False, 0, 1, -1, 2**63, 1e308, 0.5, "")),
            self.text,
            lambda: [self.body(depth - 1) for _ in range(self.byte() % 3)],
        )
        maker = makers[self.byte() % len(makers)] if depth > 0 else self.text
        return maker()

    def body(self, depth: int = 6) -> dict[str, Any]:
        """Return a JSON object of known and other names."""
        return {self.one_of(NAMES): self.value(depth) for _ in range(self.byte() % 6)} if depth > 0 else {}
