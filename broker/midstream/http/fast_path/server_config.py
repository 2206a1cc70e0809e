"""How uvicorn serves the app: by the fast path, or plainly where that is switched off or does not fit."""

import logging
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

from midstream.http.fast_path.connections import Bounds, Connections
from midstream.http.fast_path.open_files import most_files
from midstream.http.fast_path.tested_uvicorn import why_not
from midstream.http.listener import BACKLOG
from midstream.settings import Settings

logger = logging.getLogger(__name__)

SPARE_FILES: Final = 256
"""Files that are no clients: connections to Redis and to an identity provider, and refused clients that linger."""


def server_config(app: ASGIApp, settings: Settings, **options: Any) -> uvicorn.Config:
    """Return uvicorn's configuration for the app; `options` are further options of it.

    A plain uvicorn parses by h11, which bounds the size of a head; httptools does not.
    """
    why_plain = why_not(settings.fast_path)
    if why_plain is None:
        # Imported here, because an import that fails must not keep the broker from serving.
        from midstream.http.fast_path.wire_protocol import WireProtocol  # noqa: PLC0415
        from midstream.http.fast_path.ws_protocol import WsProtocol  # noqa: PLC0415

        all_connections = Connections(_bounds(settings))
        options["http"] = WireProtocol.bounded(settings.max_head_bytes, all_connections)
        options["ws"] = WsProtocol.bounded(settings.ws_auth_bytes, all_connections)
    else:
        logger.warning(
            "The fast path is not used: %s. Tails cost more memory and time. An SDK's retry of an answer that was lost "
            "right after it was sent is paid again. These bounds do not hold: MIDSTREAM_HEAD_TIMEOUT_MS; "
            "MIDSTREAM_MAX_CONNECTIONS and those of an address and of strangers; "
            "MIDSTREAM_WS_AUTH_BYTES, instead of which MIDSTREAM_MAX_BODY_BYTES holds; MIDSTREAM_SEND_TIMEOUT_MS after "
            "the end of a response. docs/limits.md has more.",
            why_plain,
        )
        options["http"] = "h11"
        options["h11_max_incomplete_event_size"] = settings.max_head_bytes
    # A compressed message would be decompressed before it is counted (PROTOCOL: Http/Encoding).
    options["ws_per_message_deflate"] = False
    options["backlog"] = BACKLOG
    return uvicorn.Config(
        app, access_log=False, server_header=False, proxy_headers=False, ws_max_size=settings.max_body_bytes, **options
    )


def _bounds(settings: Settings) -> Bounds:
    """Return the bounds of this process's connections, of which there are never more than it may open files."""
    files = most_files()
    room = max(files - SPARE_FILES, files // 2)
    most = min(settings.max_connections or room, room)
    if most < settings.max_connections:
        logger.warning(
            "MIDSTREAM_MAX_CONNECTIONS is %d, and this process may open %d files: %d connections are taken",
            settings.max_connections,
            files,
            most,
        )
    return Bounds(
        most=most,
        most_of_address=settings.max_address_connections or max(1, most // 4),
        most_strangers=min(settings.max_strangers, most),
        most_refused=min(files - room, SPARE_FILES) // 2,
        head_timeout_s=settings.head_timeout_ms / 1_000,
        body_timeout_s=settings.body_timeout_ms / 1_000,
        send_timeout_s=settings.send_timeout_ms / 1_000,
        unsent_bytes=settings.unsent_bytes,
        trusted_proxies=settings.trusted_proxies,
    )
