"""Errors in the peers' own shapes, for every path of theirs (PROTOCOL: Faces/Errors).

The path decides, not the route: most errors of a path come from no route, such as 404, 405, 413 and 415.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

import orjson
from fastapi import Response
from starlette.datastructures import Headers
from starlette.types import Scope

from midstream.faces.peer_errors import anthropic_error, openai_error
from midstream.http.absent_paths import is_absent
from midstream.http.request_ids import request_id

# Codes for which the peers have another status than the native API.
_STATUSES: Final = {"unknown_model": 404, "missing_provider_key": 400, "idempotency_mismatch": 400}
_OPENAI_CODES: Final = {
    "unknown_model": "model_not_found",
    "unauthorized": "invalid_api_key",
    "token_expired": "invalid_api_key",
    "limit_exceeded": "rate_limit_exceeded",
    "budget_exceeded": "insufficient_quota",
}
_MOST_REASONS: Final = 3

Peer = Literal["openai", "anthropic", "ai-sdk"]
_PATHS: Final[tuple[tuple[tuple[str, ...], tuple[Peer | None, ...]], ...]] = (
    (("/api/chat",), ("ai-sdk",)),
    (("/v1/messages",), ("anthropic",)),
    (("/v1/responses", "/v1/chat"), ("openai",)),
    (("/v1/models",), ("anthropic", "openai", None)),
)


def peer_response(
    scope: Scope, status: int, code: str, detail: str, facts: Mapping[str, Any], headers: Mapping[str, str] | None
) -> Response | None:
    """Return an error as the peer words it whose path was requested; None for a native path."""
    peer = _peer_of(scope)
    if peer is None:
        return None
    if peer == "ai-sdk":
        reasons = [f"{error['at']}: {error['message']}" for error in facts.get("errors", [])[:_MOST_REASONS]]
        text = " ".join((detail.replace("; see `errors`.", "."), *reasons))
        return Response(text, status, {**(headers or {}), "Error-Code": code}, media_type="text/plain")
    status = _STATUSES.get(code, status)
    param = facts.get("param") or ("model" if "model" in facts else None)
    for error in facts.get("errors", [])[:1]:
        param = error["at"].removeprefix("body.") or None
        detail = f"{param}: {error['message']}" if param else error["message"]
    if peer == "anthropic":
        body = anthropic_error(status, detail) | {"request_id": request_id(scope)}
    else:
        body = openai_error(status, _OPENAI_CODES.get(code, code), detail, param)
    return Response(orjson.dumps(body), status, headers, media_type="application/json")


def peers_of(path: str) -> tuple[Peer | None, ...]:
    """Return whose clients ask a path; None stands for native ones. The SDKs of several send a header of their own."""
    for roots, peers in _PATHS:
        if _is_below(path, roots):
            return peers
    return ("anthropic", "openai") if is_absent(path) else (None,)


def _peer_of(scope: Scope) -> Peer | None:
    peers = peers_of(scope.get("path", ""))
    if len(peers) == 1:
        return peers[0]
    headers = Headers(scope=scope)
    if "anthropic-version" in headers:
        return "anthropic"
    return "openai" if None not in peers or "x-stainless-lang" in headers else None


def _is_below(path: str, roots: tuple[str, ...]) -> bool:
    return any(path == root or path.startswith(f"{root}/") for root in roots)
