"""The statuses and content types of every route, for the OpenAPI document (PROTOCOL: Http/Declared)."""

from collections.abc import Iterator
from typing import Any, Final

from midstream.http.error_shapes import Peer, peers_of

JSON: Final = "application/json"
SSE: Final = "text/event-stream"

# The codes of each status (PROTOCOL: Errors/Codes), as far as they concern a route that declares it.
_MEANINGS: Final = {
    400: "`bad_request`, `bad_cursor`, `bad_filter`, `bad_entry`, `body_too_deep`, `credential_in_url`, "
    "`provider_object`, or a parameter that is not supported",
    401: "`unauthorized` or `token_expired`",
    403: "`insufficient_scope` or `foreign_origin`",
    404: "There is no such stream or thread, or none that the credential opens; or no such model, or no such process",
    408: "`head_timeout` or `body_timeout`",
    409: "The generation was cancelled, or the stream is not as an operator's act or a producer needs it",
    410: "`cursor_trimmed` or `stream_deleted`: it was there once",
    413: "`body_too_large`",
    415: "`unsupported_media_type` or `unsupported_encoding`: the body is not plain JSON",
    421: "`unknown_host`",
    422: "`unknown_model`, `missing_provider_key` or `idempotency_mismatch`",
    429: "`limit_exceeded`, `budget_exceeded`, or the provider's own limit; `Retry-After`",
    431: "`head_too_large`",
    500: "`internal`",
    502: "The provider failed, or `compaction_incomplete`",
    503: "`log_unavailable`, `log_full`, `newer_format`, `overloaded`, `busy`, `stopping` or `stream_moved`, or the "
    "provider is overloaded",
    504: "`still_running`, or the provider or the queue took too long; `Retry-After`",
}
_ANY: Final = (400, 408, 421, 431, 500, 503)
_CALLER: Final = (*_ANY, 401, 403)
_NAMED: Final = (*_CALLER, 404)
_POST: Final = (413, 415)
_STARTED: Final = (*_NAMED, *_POST, 410, 422, 429)
_ANSWERED: Final = (*_NAMED, *_POST, 409, 410, 429, 502, 504)
_COUNTED: Final = (*_NAMED, *_POST, 410, 422, 429, 502, 504)
_ACTED: Final = (*_NAMED, *_POST, 409)
_TAILED: Final = (*_NAMED, 410, 429)

Answers = tuple[dict[int, tuple[str, ...]], tuple[int, ...]]
"""The content types of each success, and the statuses of errors."""

ANSWERS: Final[dict[str, Answers]] = {
    "post /v1/streams": ({200: (JSON, SSE), 201: (JSON, SSE)}, (*_STARTED, 409)),
    "get /v1/streams": ({200: (JSON,)}, (*_CALLER, 429)),
    "get /v1/streams/{stream_id}": ({200: (JSON,)}, (*_NAMED, 410, 429)),
    "delete /v1/streams/{stream_id}": ({204: ()}, (*_NAMED, 413)),
    "get /v1/streams/{stream_id}/entries": ({200: (JSON,)}, (*_NAMED, 410)),
    "get /v1/streams/{stream_id}/events": ({200: (SSE,), 204: ()}, _TAILED),
    "post /v1/streams/{stream_id}/entries": ({200: (JSON,)}, (*_ACTED, 429)),
    "post /v1/streams/{stream_id}/lease": ({200: (JSON,)}, _ACTED),
    "post /v1/streams/{stream_id}/seal": ({200: (JSON,)}, _ACTED),
    "post /v1/streams/{stream_id}/cancel": ({202: (JSON,)}, (*_NAMED, *_POST)),
    "post /v1/tokens": ({201: (JSON,)}, (*_NAMED, *_POST)),
    "get /v1/threads": ({200: (JSON,)}, _CALLER),
    "get /v1/threads/{thread}": ({200: (JSON,)}, _NAMED),
    "get /v1/threads/{thread}/events": ({200: (SSE,)}, (*_NAMED, 429)),
    "delete /v1/threads/{thread}": ({204: ()}, (*_NAMED, 413)),
    "delete /v1/users/{user}": ({200: (JSON,)}, (*_NAMED, 413)),
    "post /v1/session": ({204: ()}, (*_CALLER, *_POST)),
    "delete /v1/session": ({204: ()}, (*_ANY, 403, 413)),
    "post /api/chat": ({200: (SSE,), 204: ()}, _STARTED),
    "get /api/chat/{chat_id}/stream": ({200: (SSE,), 204: ()}, (*_CALLER, 429)),
    "post /api/chat/{chat_id}/stop": ({200: (JSON,), 202: (JSON,)}, (*_CALLER, *_POST)),
    "post /v1/responses": ({200: (JSON, SSE)}, _ANSWERED),
    "post /v1/responses/compact": ({200: (JSON,)}, _ANSWERED),
    "post /v1/responses/input_tokens": ({200: (JSON,)}, _COUNTED),
    "get /v1/responses/{response_id}": ({200: (JSON, SSE)}, _TAILED),
    "delete /v1/responses/{response_id}": ({200: (JSON,)}, (*_NAMED, 413)),
    "post /v1/responses/{response_id}/cancel": ({200: (JSON,)}, (*_NAMED, *_POST)),
    "get /v1/responses/{response_id}/input_items": ({200: (JSON,)}, (*_NAMED, 410)),
    "post /v1/chat/completions": ({200: (JSON, SSE)}, _ANSWERED),
    "post /v1/messages": ({200: (JSON, SSE)}, _ANSWERED),
    "post /v1/messages/count_tokens": ({200: (JSON,)}, _COUNTED),
    "get /v1/models": ({200: (JSON,)}, _CALLER),
    "get /v1/models/{model}": ({200: (JSON,)}, (*_NAMED, 422)),
    "get /v1/operate/streams": ({200: (JSON,)}, _CALLER),
    "post /v1/operate/streams/{tenant}/{stream_id}/cancel": ({202: (JSON,)}, (*_NAMED, *_POST)),
    "post /v1/operate/streams/{tenant}/{stream_id}/requeue": ({200: (JSON,), 201: (JSON,)}, _ACTED),
    "post /v1/operate/streams/{tenant}/{stream_id}/seal": ({200: (JSON,)}, _ACTED),
    "post /v1/operate/streams/{tenant}/{stream_id}/trim": ({200: (JSON,)}, _ACTED),
    "post /v1/operate/streams/{tenant}/{stream_id}/retain": ({200: (JSON,)}, _ACTED),
    "delete /v1/operate/streams/{tenant}/{stream_id}": ({204: ()}, (*_NAMED, 413)),
    "post /v1/operate/workers/{name}/drain": ({202: (JSON,)}, (*_NAMED, *_POST)),
    "post /v1/operate/brokers/{name}/drain": ({202: (JSON,)}, (*_NAMED, *_POST)),
    "post /v1/operate/acts": ({200: (JSON,)}, (*_CALLER, *_POST, 409)),
    "get /v1/operate/costs": ({200: (JSON,)}, _CALLER),
    "get /v1/operate/outlets": ({200: (JSON,)}, _CALLER),
    "get /v1/operate/outlets/{outlet}": ({200: (JSON,)}, _NAMED),
    "post /v1/operate/outlets/{outlet}/again": ({200: (JSON,)}, (*_NAMED, *_POST)),
    "get /v1/operate/audit": ({200: (JSON,)}, _CALLER),
    "get /v1/operate/workers": ({200: (JSON,)}, _CALLER),
    "get /v1/operate/brokers": ({200: (JSON,)}, _CALLER),
    "get /v1/operate/queue": ({200: (JSON,)}, _CALLER),
    "get /v1/operate/redis": ({200: (JSON,)}, _CALLER),
    "get /v1/operate/doctor": ({200: (JSON,)}, _CALLER),
    "get /v1/operate/stats": ({200: (JSON,)}, _CALLER),
    "get /v1/operate/streams/{tenant}/{stream_id}": ({200: (JSON,)}, _NAMED),
    "get /v1/operate/streams/{tenant}/{stream_id}/entries": ({200: (JSON,)}, (*_NAMED, 410)),
    "get /v1/operate/streams/{tenant}/{stream_id}/frames": ({200: (JSON,)}, (*_NAMED, 410)),
    "get /v1/operate/streams/{tenant}/{stream_id}/shape": ({200: (JSON,)}, _NAMED),
    "get /healthz": ({200: (JSON,)}, _ANY),
    "get /readyz": ({200: (JSON,)}, _ANY),
}
"""What each route answers. The socket's answers are described where it is (`docs_page.py`)."""

_TEXT: Final = {"type": "string"}
_OPENAI_ERROR: Final = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {"message": _TEXT, "type": _TEXT},
        }
    },
}
_ANTHROPIC_ERROR: Final = {
    "type": "object",
    "required": ["type", "error", "request_id"],
    "properties": {
        "type": {"const": "error"},
        "error": {"type": "object", "required": ["type", "message"]},
        "request_id": {"type": ["string", "null"]},
    },
}
_PROBLEM: Final = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {"type": _TEXT, "title": _TEXT, "status": {"type": "integer"}, "detail": _TEXT, "code": _TEXT},
}
SCHEMAS: Final = {"Problem": _PROBLEM, "OpenAIError": _OPENAI_ERROR, "AnthropicError": _ANTHROPIC_ERROR}
_ERRORS: Final[dict[Peer | None, dict[str, tuple[str, ...]]]] = {
    None: {"application/problem+json": ("Problem",)},
    "openai": {JSON: ("OpenAIError",)},
    "anthropic": {JSON: ("AnthropicError",)},
    "ai-sdk": {"text/plain": ()},
}


def declare(document: dict[str, Any]) -> None:
    """Write what each route answers into an OpenAPI document, instead of FastAPI's own guesses.

    Raises:
        KeyError: A route is not in the table.
    """
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas |= SCHEMAS
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's, which none of ours is
        schemas.pop(name, None)
    for path, method, operation in _operations(document):
        successes, errors = ANSWERS[f"{method} {path}"]
        described = operation["responses"]
        operation["responses"] = {
            str(status): {"description": _description(status, described), **_content(status, path, successes)}
            for status in (*sorted(successes), *sorted(errors))
        }


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        yield from ((path, method, operation) for method, operation in operations.items())


def _description(status: int, described: dict[str, Any]) -> str:
    """Return what the route itself says of a status, else what it means everywhere."""
    own: str = described.get(str(status), {}).get("description", "")
    return _MEANINGS.get(status, "Done.") if own in ("", "Successful Response", "Validation Error") else own


def _content(status: int, path: str, successes: dict[int, tuple[str, ...]]) -> dict[str, Any]:
    """Return the `content` of an answer, by its content types; empty for one without a body."""
    if status in successes:
        content = {media: {"schema": {"type": "object"}} if media == JSON else {} for media in successes[status]}
        return {"content": content} if content else {}
    forms: dict[str, list[dict[str, Any]]] = {}
    for peer in peers_of(path):
        for media, names in _ERRORS[peer].items():
            forms.setdefault(media, []).extend({"$ref": f"#/components/schemas/{name}"} for name in names)
    return {"content": {media: {"schema": {"anyOf": refs} if refs else _TEXT} for media, refs in forms.items()}}
