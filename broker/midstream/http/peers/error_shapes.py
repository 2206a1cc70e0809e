"""Errors in the peers' own shapes, for every path of theirs (PROTOCOL: Faces/Errors)."""

from typing import Any, Final

from starlette.datastructures import Headers
from starlette.types import Scope

from midstream.faces.peer_errors import anthropic_error, openai_error
from midstream.http.peers.absent_paths import is_absent
from midstream.http.request_ids import request_id

_OPENAI_PATHS: Final = ("/v1/responses", "/v1/chat")
_ANTHROPIC_PATHS: Final = ("/v1/messages",)
_AI_SDK_PATHS: Final = ("/api/chat",)
_SHARED_PATHS: Final = ("/v1/models",)

# Codes for which the peers have another status than the native API.
_STATUSES: Final = {"unknown_model": 404, "missing_provider_key": 400, "idempotency_mismatch": 400}
_MOST_REASONS: Final = 3
_OPENAI_CODES: Final = {"unknown_model": "model_not_found", "unauthorized": "invalid_api_key"}


def shaped(
    scope: Scope, status: int, code: str, detail: str, facts: dict[str, Any]
) -> tuple[int, dict[str, Any]] | str | None:
    """Return status and body for a path of a peer's, a text for one of the AI SDK's, or None for a native one."""
    face = _face(scope)
    if face is None:
        return None
    if face == "ai-sdk":
        reasons = [f"{error['at']}: {error['message']}" for error in facts.get("errors", [])[:_MOST_REASONS]]
        return " ".join((detail.replace("; see `errors`.", "."), *reasons))
    status = _STATUSES.get(code, status)
    param = facts.get("param") or ("model" if "model" in facts else None)
    for error in facts.get("errors", [])[:1]:
        param = error["at"].removeprefix("body.") or None
        detail = f"{param}: {error['message']}" if param else error["message"]
    if face == "anthropic":
        return status, anthropic_error(status, detail) | {"request_id": request_id(scope)}
    return status, openai_error(status, _OPENAI_CODES.get(code, code), detail, param)


def _face(scope: Scope) -> str | None:
    path, headers = scope.get("path", ""), Headers(scope=scope)
    if _below(path, _AI_SDK_PATHS):
        return "ai-sdk"
    if _below(path, _ANTHROPIC_PATHS):
        return "anthropic"
    if _below(path, _OPENAI_PATHS):
        return "openai"
    if is_absent(path):
        return "anthropic" if "anthropic-version" in headers else "openai"
    if _below(path, _SHARED_PATHS):  # native clients ask here as well, but the SDKs send a header of their own
        if "anthropic-version" in headers:
            return "anthropic"
        return "openai" if "x-stainless-lang" in headers else None
    return None


def _below(path: str, roots: tuple[str, ...]) -> bool:
    return any(path == root or path.startswith(f"{root}/") for root in roots)
