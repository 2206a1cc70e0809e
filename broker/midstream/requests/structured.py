"""Whether a request asks for JSON, in the words of any dialect."""

from typing import Any, Final

from midstream.log.entries import Json

_FORMS: Final = ("json_object", "json_schema")


def asks_for_json(params: Json) -> bool:
    """Tell whether the answer's text is to be JSON: `response_format`, `text.format` or `output_config.format`."""
    forms = (
        params.get("response_format"),
        _member(params.get("text"), "format"),
        _member(params.get("output_config"), "format"),
    )
    return any(_member(form, "type") in _FORMS for form in forms)


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None
