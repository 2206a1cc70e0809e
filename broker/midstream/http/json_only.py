"""Bodies must be JSON and be announced as JSON, for all routes at once (PROTOCOL: Errors/Codes)."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from midstream.http.absent_paths import is_absent
from midstream.http.problems import Problem


class JsonOnly:
    """Answers 415 to a body that is not announced as JSON.

    A browser sends a body that is announced as JSON to another origin only after a preflight (PROTOCOL: Http/Cors). A
    body that is announced as anything else would be refused for lack of fields that it does hold. Paths that are not
    served here read no body, and have a better answer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        posts = scope["type"] == "http" and scope["method"] == "POST" and not is_absent(scope["path"])
        if posts and not _is_json(Headers(scope=scope)):
            detail = "Send JSON, and say so: Content-Type: application/json."
            response = Problem(415, "unsupported_media_type", detail).response(scope)
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _is_json(headers: Headers) -> bool:
    """Tell whether a request has no body, or one of JSON."""
    if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        return True
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type.startswith("application/") and media_type.endswith(("/json", "+json"))
