"""URLs of images and files in a prompt, which the model's server would fetch (PROTOCOL: Access/Remote files)."""

import re
from collections.abc import Sequence
from typing import Any, Final

from midstream.requests.catalogue import split
from midstream.requests.request import UnfitRequestError
from midstream.settings import Settings

OWN_CODE: Final = frozenset(("demo", "app"))
"""Providers that fetch nothing by themselves; an app decides what it does with its prompt."""
_FIELDS: Final = frozenset(("image_url", "file_url", "video_url", "audio_url", "file_data"))
_MEDIA: Final = frozenset(("image", "document", "video", "audio", "file", *_FIELDS))
"""Types of parts in which `url`, Gemini's `uri`, is to be fetched. Elsewhere, as in a citation, it is text."""
_SCHEME: Final = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*):")
_FETCHED: Final = ("http", "https")


class RemoteFileError(UnfitRequestError):
    """The prompt holds a URL that the model's server may not be sent; `at` is the field."""

    def __init__(self, name: str, provider: str) -> None:
        super().__init__(
            f"`{name}` is a URL that {provider} would fetch: send the content itself, as a `data:` URL. The operator "
            "can allow it (MIDSTREAM_REMOTE_FILES)."
        )
        self.at = name


def refuse_remote_files(model: str, items: Sequence[Any], settings: Settings) -> None:
    """Refuse unless the items of a prompt hold no URL that the model's provider may not be sent.

    Raises:
        RemoteFileError: One does.
    """
    provider, allowed = split(model)[0], settings.remote_file_providers
    if provider in OWN_CODE or "*" in allowed:
        return
    schemes = frozenset(("data", *(_FETCHED if provider in allowed else ())))
    for item in items:
        if name := _remote(item, schemes):
            raise RemoteFileError(name, provider)


def _remote(value: Any, schemes: frozenset[str], *, in_media: bool = False) -> str | None:
    """Return the field of the first URL with another scheme in a value; None: there is none."""
    if isinstance(value, list):
        return next(filter(None, (_remote(each, schemes, in_media=in_media) for each in value)), None)
    if not isinstance(value, dict):
        return None
    in_media = in_media or value.get("type") in _MEDIA
    for name, inner in value.items():
        is_url = name in _FIELDS or (in_media and name in ("url", "uri"))
        if is_url and isinstance(inner, str) and (scheme := _SCHEME.match(inner)) and scheme[1].lower() not in schemes:
            return str(name)
        if deeper := _remote(inner, schemes, in_media=in_media or name in _FIELDS):
            return deeper
    return None
