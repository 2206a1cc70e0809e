"""Keeps pages out that a broker was not meant for: by the host's name, and by their origin (PROTOCOL: Access/Hosts).

A hostile page can have its own name resolve to loopback (DNS rebinding). For the browser it then is of the broker's
origin; but the request says which name it reached the broker by.
"""

from functools import lru_cache
from typing import Final

from starlette.requests import HTTPConnection
from starlette.types import Scope

from midstream.access.host_names import host_name, is_loopback
from midstream.http.cors import is_foreign
from midstream.http.head import head_of
from midstream.http.problems import Problem
from midstream.settings import Settings

SAFE_METHODS: Final = frozenset(("GET", "HEAD", "OPTIONS"))
"""Methods that change nothing."""
HOSTS_REMEMBERED: Final = 256


class PageGuard:
    """Refuses requests for hosts that are not ours, and in open mode what pages of other origins would change.

    With keys and without a list of hosts there is nothing to refuse here: such a page has no key, and a cookie is asked
    for its origin where it is read.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._is_idle = not (settings.is_open or settings.own_hosts)
        own = settings.own_hosts

        @lru_cache(HOSTS_REMEMBERED)
        def is_own(host: bytes) -> bool:
            text = host.decode("latin-1")
            return is_loopback(text) or host_name(text) in own

        self._is_own = is_own

    def problem(self, scope: Scope) -> Problem | None:
        """Return why a request is refused; None where it is not."""
        if self._is_idle or scope["type"] == "lifespan":
            return None
        head, headers = head_of(scope), scope["headers"]
        if len(head) == len(headers):  # no name is there twice
            is_own = b"host" not in head or self._is_own(head[b"host"])
        else:  # of several hosts, who knows which one a proxy believes
            is_own = all(self._is_own(value) for name, value in headers if name == b"host")
        if not is_own:
            detail = "This broker goes by another name: list the host in MIDSTREAM_ALLOWED_HOSTS."
            return Problem(421, "unknown_host", detail)
        if scope["type"] != "http" or scope["method"] in SAFE_METHODS or not self._settings.is_open:
            return None
        return foreign_page() if is_foreign(HTTPConnection(scope), self._settings) else None


def foreign_page() -> Problem:
    """Return the refusal of a page that may not change anything here."""
    detail = "A page of another origin may not do this (MIDSTREAM_CORS_ORIGINS)."
    return Problem(403, "foreign_origin", detail)
