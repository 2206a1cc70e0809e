"""The cookie that carries a page's session, and the pages that may use it (PROTOCOL: Access/Cookie).

`EventSource` can send no header. A browser sends a cookie by itself, also where a hostile page makes it ask, so that a
cookie is good for nothing without the browser's own word about the page.
"""

from typing import Final

from starlette.requests import HTTPConnection

from midstream.access.host_names import is_loopback
from midstream.http.cors import SAME_ORIGIN
from midstream.http.page_guard import SAFE_METHODS, foreign_page

NAME: Final = "__Host-midstream"
"""Browsers take a cookie of such a name only from a secure page of this very host, and never from a sibling of it."""
LOOPBACK_NAME: Final = "midstream"
"""The name on loopback without TLS, where not every browser takes a secure cookie."""


def session_token(connection: HTTPConnection) -> str | None:
    """Return the token in a request's cookie; None: there is none.

    Raises:
        Problem: 403 `foreign_origin`: a page asks that may not do this by its user's cookie.
    """
    if "cookie" not in connection.headers:
        return None
    token = connection.cookies.get(_name(connection))
    if token and not _may_use(connection):
        raise foreign_page()
    return token or None


def set_cookie(connection: HTTPConnection, token: str, max_age_s: int) -> str:
    """Return the `Set-Cookie` that gives a page its session; 0 s clears it."""
    name = _name(connection)
    secure = "; Secure" if name == NAME else ""
    return f"{name}={token}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Strict{secure}"


def _name(connection: HTTPConnection) -> str:
    is_plain = connection.scope["scheme"] in ("http", "ws") and is_loopback(connection.headers.get("host", ""))
    return LOOPBACK_NAME if is_plain else NAME


def _may_use(connection: HTTPConnection) -> bool:
    """Tell whether a page may do this: read, from every page of the site; else, from a page of this very origin."""
    site = connection.headers.get("sec-fetch-site")
    if connection.scope.get("method") in SAFE_METHODS:  # a socket has no method, and changes something
        return site != "cross-site"
    if site is not None:
        return site == SAME_ORIGIN
    return connection.headers.get("origin", "").partition("://")[2] == connection.headers.get("host")
