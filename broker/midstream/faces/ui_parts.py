"""Entries that a source fills as it likes, as parts of the AI SDK's UI message stream (PROTOCOL: Chat/Parts)."""

import re
from collections.abc import Collection
from typing import Any, Final

from midstream.log.entries import Json

_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9]+")


def tool_result_part(data: Json, call_ids: Collection[str]) -> Json:
    """Return a tool's result; as plain data if there is no call that it belongs to, where the SDK would break off."""
    call_id = data.get("tool_call_id") or data.get("call_id") or data.get("id")
    if call_id not in call_ids:
        return data_part("tool-result", data)
    if data.get("error") is not None:
        return {"type": "tool-output-error", "toolCallId": call_id, "errorText": str(data["error"])}
    return {"type": "tool-output-available", "toolCallId": call_id, "output": data.get("output")}


def source_part(data: Json) -> Json:
    """Return a source: a URL if it has one, else a document."""
    source_id = str(data.get("id") or data.get("url") or "source")
    if isinstance(data.get("url"), str):
        part: Json = {"type": "source-url", "sourceId": source_id, "url": data["url"], "title": data.get("title")}
    else:
        part = {
            "type": "source-document",
            "sourceId": source_id,
            "mediaType": str(data.get("media_type") or "application/octet-stream"),
            "title": str(data.get("title") or source_id),
            "filename": data.get("filename"),
        }
    return {name: value for name, value in part.items() if value is not None}


def file_part(data: Json) -> Json:
    """Return a file by its URL or as a data URL; one that has neither is plain data."""
    media_type = str(data.get("media_type") or data.get("mediaType") or "application/octet-stream")
    if isinstance(data.get("url"), str):
        return {"type": "file", "url": data["url"], "mediaType": media_type}
    if isinstance(data.get("data"), str):
        return {"type": "file", "url": f"data:{media_type};base64,{data['data']}", "mediaType": media_type}
    return data_part("file", data)


def data_part(kind: Any, data: Json) -> Json:
    """Return plain data under a name that the SDK allows."""
    name = _NOT_IN_NAMES.sub("-", str(kind).lower()).strip("-") or "entry"
    return {"type": f"data-{name}", "data": data}


def error_part(message: str) -> Json:
    """Return an error, which ends the answer for the SDK."""
    return {"type": "error", "errorText": message}
