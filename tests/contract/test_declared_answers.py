"""The OpenAPI document says what each route answers (PROTOCOL: Http/Declared)."""

from typing import Any

import pytest

from midstream.http.app import create_app
from midstream.http.declared_answers import ANSWERS, declare
from midstream.settings import Settings
from tests import inside

SOCKET = "/v1/ws"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(Settings()).openapi()


def test_every_route_declares_what_it_answers(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for operation in operations.values():
            declared = operation["responses"]
            assert "default" not in declared
            if path == SOCKET:
                continue
            assert all(answer["content"] for status, answer in declared.items() if status not in ("202", "204"))
            assert all("content" not in answer for status, answer in declared.items() if status == "204")
            assert {"400", "408", "431", "500", "503"} < declared.keys()
    routes = {f"{method} {path}" for path in document["paths"] for method in document["paths"][path] if path != SOCKET}
    assert routes == ANSWERS.keys(), "the table has no other routes"


def test_a_route_without_a_row_fails() -> None:
    with pytest.raises(KeyError, match="get /v1/new"):
        declare({"paths": {"/v1/new": {"get": {"responses": {}}}}})


def test_every_reference_of_the_document_is_there(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return own + [each for part in value.values() for each in references(part)]
        return [each for part in value for each in references(part)] if isinstance(value, list) else []

    all_references = references(document)
    assert all_references
    assert [each for each in all_references if each.removeprefix("#/components/schemas/") not in schemas] == []
    assert "HTTPValidationError" not in schemas


def test_credentials_have_their_schemes(document: dict[str, Any]) -> None:
    assert document["components"]["securitySchemes"].keys() == {"bearer", "x-api-key", "session"}
    assert document["security"] == [{}, {"bearer": []}, {"x-api-key": []}, {"session": []}]
    assert document["paths"]["/healthz"]["get"]["security"] == []


async def test_the_page_allows_no_script_of_its_own_and_no_other_host(settings: Settings) -> None:
    async with inside.broker(settings) as client:
        page = await client.get("/docs")
        policy = page.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert "http" not in policy
        links = [part.partition('"')[0] for attribute in ('src="', 'href="') for part in page.text.split(attribute)[1:]]
        assert len(links) == 4
        for link in links:
            assert (await client.get(f"/{link}")).status_code == 200, link
        assert (await client.get("/openapi.json")).json()["paths"]
