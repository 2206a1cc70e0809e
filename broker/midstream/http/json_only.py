"""Bodies must be plain JSON and be announced as JSON, for all routes at once (PROTOCOL: Http/Encoding)."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from midstream import counters
from midstream.http.absent_paths import is_absent
from midstream.http.problems import Problem


class JsonOnly:
    """Answers 415 to a body that is compressed, or not announced as JSON.

    A browser sends a body that is announced as JSON to another origin only after a preflight (PROTOCOL: Http/Cors). A
    body that is announced as anything else would be refused for lack of fields that it does hold. Paths that are not
    served here read no body, and have a better answer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        posts = scope["type"] == "http" and scope["method"] == "POST" and not is_absent(scope["path"])
        problem = _refusal(Headers(scope=scope)) if posts else None
        if problem is not None:
            counters.count("refused", problem.code)
            await problem.response(scope)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _refusal(headers: Headers) -> Problem | None:
    encodings = ",".join(headers.getlist("content-encoding")).lower().split(",")
    if any(encoding.strip() not in ("identity", "") for encoding in encodings):
        detail = "A body is not decompressed here: send it without a Content-Encoding."
        return Problem(415, "unsupported_encoding", detail, headers={"Accept-Encoding": "identity"})
    if not _is_json(headers):
        return Problem(415, "unsupported_media_type", "Send JSON, and say so: Content-Type: application/json.")
    return None


def _is_json(headers: Headers) -> bool:
    """Tell whether a request has no body, or one of JSON."""
    if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        return True
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type.startswith("application/") and media_type.endswith(("/json", "+json", "/x-ndjson"))
