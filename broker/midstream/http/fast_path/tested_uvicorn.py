"""Whether the installed uvicorn is one that the fast path was tested with, and has what the fast path needs of it.

None of its insides is imported before the version was looked at. A release that moves a name, or gives it another
meaning, costs speed and no more.
"""

import importlib
import re
from typing import Any, Final

TESTED: Final = {"uvicorn": ("0.54", "0.55"), "websockets": ("16", "18")}
"""From this version on, and before that one. `pyproject.toml` has the same bounds, and a test compares them."""

NEEDS: Final = {
    "uvicorn.protocols.http.httptools_impl:HttpToolsProtocol": (
        *("config", "cycle", "flow", "headers", "loop", "parser", "pipeline", "scope", "tasks", "transport", "url"),
        *("connection_made", "data_received", "eof_received", "connection_lost", "pause_writing", "resume_writing"),
        *("on_headers_complete", "on_body", "on_message_complete", "on_response_complete"),
        *("send_400_response", "handle_websocket_upgrade", "client", "shutdown", "_start_asgi_task"),
    ),
    "uvicorn.protocols.http.httptools_impl:RequestResponseCycle": (
        *("chunked_encoding", "default_headers", "disconnected", "keep_alive", "message_event", "more_body"),
        *("response_complete", "response_started", "scope", "send", "waiting_for_100_continue"),
    ),
    "uvicorn.protocols.http.flow_control:FlowControl": ("resume_reading", "resume_writing", "write_paused"),
    "uvicorn.protocols.websockets.websockets_sansio_impl:WebSocketsSansIOProtocol": (
        *("config", "conn", "handle_connect", "response", "scope", "client", "transport"),
        *("connection_made", "connection_lost", "on_task_complete"),
    ),
    "websockets.server:ServerProtocol": ("max_message_size",),
    "websockets.http11:Request": (),
}
"""Each class of uvicorn and websockets that the fast path stands on, with every attribute that it touches."""


def misfit() -> str | None:
    """Return why the fast path cannot be used with what is installed, or None if it can."""
    for package, (first, end) in TESTED.items():
        try:
            installed = str(importlib.import_module(package).__version__)
        except (ImportError, AttributeError):
            return f"the version of {package} cannot be found"
        if not _numbers(first) <= _numbers(installed) < _numbers(end):
            return f"{package} {installed} is installed, and the fast path was tested with {package} {first}"
    absent = [f"{where}.{name}" for where, names in NEEDS.items() for name in _absent(where, names)]
    return f"the installed server has no {', no '.join(absent)}" if absent else None


def why_not(mode: str) -> str | None:
    """Return why the fast path is not used, where the setting is `mode`; None if it is."""
    return misfit() if mode == "auto" else "it is switched off (MIDSTREAM_FAST_PATH)"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))


def _absent(where: str, names: tuple[str, ...]) -> list[str]:
    module, _, kind = where.partition(":")
    try:
        attributes = _attributes(getattr(importlib.import_module(module), kind))
    except (ImportError, AttributeError):
        return ["*"]
    return [name for name in names if name not in attributes]


def _attributes(kind: Any) -> set[str]:
    """Return the names that a class defines or that its methods mention: instances exist for connections alone."""
    attributes = set(dir(kind))
    for base in kind.__mro__:
        for member in vars(base).values():
            code = getattr(member, "__code__", None)
            attributes.update(code.co_names if code else ())
    return attributes
