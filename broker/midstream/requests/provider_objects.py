"""Names of objects that a provider keeps, which all tenants share under the operator's key (PROTOCOL: Access/Objects).

A file, a conversation or a response at the provider belongs to the key, and every tenant's requests are made with the
same key. A request that names one could read what another tenant left there.
"""

from collections.abc import Sequence
from typing import Any, Final

from midstream.log.entries import Json
from midstream.requests.catalogue import split
from midstream.requests.request import UnfitRequestError
from midstream.settings import Settings

WITHOUT_OBJECTS: Final = frozenset(("demo", "app", "local"))
"""Providers that keep nothing; an app's params are its own."""
_OPAQUE: Final = frozenset(("metadata", "parameters", "input_schema", "schema", "arguments", "properties"))
"""Fields whose keys the client makes up."""
_CALLS: Final = ("tool_use", "_call")


class ProviderObjectError(UnfitRequestError):
    """The request names an object at the provider; `at` is the field."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"`{name}` names an object at the provider, which all tenants here would share. The operator can allow it "
            "(MIDSTREAM_PROVIDER_OBJECTS)."
        )
        self.at = name


def refuse_objects(model: str, params: Json, items: Sequence[Any], settings: Settings) -> None:
    """Refuse unless neither the params nor the items of a prompt name an object that is refused.

    Raises:
        ProviderObjectError: One does.
    """
    refused = settings.refused_objects
    if not refused or split(model)[0] in WITHOUT_OBJECTS:
        return
    for value in (params, *items):
        if name := _named(value, refused):
            raise ProviderObjectError(name)
    if "item_reference" in refused and any(map(_is_reference, items)):
        raise ProviderObjectError("item_reference")


def _named(value: Any, refused: frozenset[str]) -> str | None:
    """Return the name of the first object in a value; None: there is none."""
    if isinstance(value, list):
        names = (_named(each, refused) for each in value)
        return next((name for name in names if name), None)
    if not isinstance(value, dict):
        return None
    if value.get("type") == "mcp_server" and "server_url" in refused:  # Gemini's, whose field is `url`
        return "server_url"
    is_call = str(value.get("type")).endswith(_CALLS)
    for name, inner in value.items():
        if inner is None or name in _OPAQUE or (is_call and name == "input"):
            continue
        if name in refused and not _is_new(name, inner):
            return str(name)
        if deeper := _named(inner, refused):
            return deeper
    return None


def _is_new(name: str, value: Any) -> bool:
    """Tell whether a container is described and not named, so that the provider makes a new one."""
    return name == "container" and isinstance(value, dict) and "id" not in value


def _is_reference(item: Any) -> bool:
    return isinstance(item, dict) and (item.get("type") == "item_reference" or set(item) == {"id"})
