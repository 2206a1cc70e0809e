"""The endpoints that take a conversation, each with a body that holds any JSON value somewhere."""

DOORS: dict[str, bytes] = {
    "/v1/streams": b'{"model": "demo/story", "input": "x", "params": %b}',
    "/api/chat": b'{"id": "c", "model": "demo/story", "messages": [{"role": "user", "content": "x"}], "params": %b}',
    "/v1/responses": b'{"model": "demo/story", "input": "x", "tools": [{"type": "function", "parameters": %b}]}',
    "/v1/responses/compact": b'{"model": "demo/story", "input": "x", "text": %b}',
    "/v1/chat/completions": b'{"model": "demo/story", "messages": [{"role": "user", "content": "x"}], "any": %b}',
    "/v1/messages": b'{"model": "demo/story", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}], "a":%b}',
}
JSON = {"Content-Type": "application/json"}
