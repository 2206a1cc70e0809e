"""URLs of images and files, which a model's server would fetch (PROTOCOL: Access/Remote files)."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from midstream.requests.remote_files import RemoteFileError, refuse_remote_files
from midstream.settings import Settings
from tests import inside
from tests.contract.ws_talk import dial

Json = dict[str, Any]
URL = "http://169.254.169.254/latest/meta-data"
FETCHED: list[tuple[str, Json]] = [
    ("uri", {"type": "image", "uri": URL}),
    ("url", {"type": "image_url", "image_url": {"url": URL}}),
    ("image_url", {"type": "image_url", "image_url": URL}),
    ("image_url", {"type": "input_image", "image_url": f"\n{URL.upper()}"}),
    ("file_url", {"type": "input_file", "file_url": URL}),
    ("file_data", {"type": "file", "file": {"file_data": URL}}),
    ("url", {"type": "image", "source": {"type": "url", "url": URL}}),
    ("url", {"type": "document", "source": {"type": "url", "url": URL}}),
    ("url", {"type": "video_url", "video_url": {"url": URL}}),
    ("image_url", {"type": "computer_screenshot", "image_url": URL}),
    ("url", {"type": "tool_result", "content": [{"type": "image", "source": {"type": "url", "url": URL}}]}),
]
UNFETCHED: list[Json] = [
    {"type": "text", "text": URL},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    {"type": "file", "file": {"file_data": "AAAA", "filename": URL}},
    {"type": "output_text", "text": "x", "annotations": [{"type": "url_citation", "url": URL}]},
    {"type": "tool_use", "id": "t", "name": "f", "input": {"url": URL}},
]


def ask(part: Json, model: str, **settings: Any) -> None:
    refuse_remote_files(model, [{"role": "user", "content": [part]}], Settings(**settings))


@pytest.mark.parametrize(("name", "part"), FETCHED)
def test_only_listed_providers_are_sent_urls(name: str, part: Json) -> None:
    """Access/Remote files."""
    for model in ("openai/gpt-test", "anthropic/claude-test", "app/own", "demo/count"):
        ask(part, model)
    for model in ("ollama/llava", "local/smollm2"):
        with pytest.raises(RemoteFileError) as refused:
            ask(part, model)
        assert refused.value.at == name
    ask(part, "ollama/llava", remote_files="openai, ollama")
    ask(part, "ollama/llava", remote_files="*")
    with pytest.raises(RemoteFileError):
        ask(part, "openai/gpt-test", remote_files="none")


@pytest.mark.parametrize("scheme", ["file:///etc/passwd", "ftp://host/x", "gopher://host", "FILE:/etc/passwd"])
def test_only_two_schemes_are_fetched(scheme: str) -> None:
    """Access/Remote files."""
    part = {"type": "input_image", "image_url": scheme}
    with pytest.raises(RemoteFileError):
        ask(part, "openai/gpt-test")
    ask(part, "openai/gpt-test", remote_files="*")


@pytest.mark.parametrize("part", UNFETCHED)
def test_what_nobody_fetches_passes(part: Json) -> None:
    """Access/Remote files."""
    ask(part, "ollama/llava", remote_files="none")


async def test_every_endpoint_refuses_a_url(settings: Settings) -> None:
    """Access/Remote files."""
    part, image = (
        {"type": "image_url", "image_url": {"url": URL}},
        {"type": "image", "source": {"type": "url", "url": URL}},
    )
    ui = {"role": "user", "parts": [{"type": "file", "mediaType": "image/png", "url": URL}]}
    model = "ollama/llava"
    bodies: dict[str, Json] = {
        "/v1/streams": {"messages": [{"role": "user", "content": [part]}]},
        "/v1/responses": {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": URL}]}]},
        "/v1/responses/compact": {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": URL}]}]},
        "/v1/chat/completions": {"messages": [{"role": "user", "content": [part]}]},
        "/v1/messages": {"messages": [{"role": "user", "content": [image]}], "max_tokens": 9},
        "/api/chat": {"id": "c", "trigger": "submit-message", "messages": [ui]},
    }
    local = settings.model_copy(update={"providers": {"ollama": "http://127.0.0.1:9/v1"}})
    async with inside.broker(local) as client:
        for path, body in bodies.items():
            refused = await client.post(path, json=body | {"model": model})
            assert refused.status_code == 400, (path, refused.text)
            assert "MIDSTREAM_REMOTE_FILES" in refused.text, path
        native = (await client.post("/v1/streams", json=bodies["/v1/streams"] | {"model": model})).json()
        assert (native["code"], native["param"]) == ("remote_file", "url")
        async with dial(client) as talk:
            await talk.say(type="start", request=bodies["/v1/streams"] | {"model": model})
            assert (await talk.hear("error"))["code"] == "remote_file"
        assert json.loads((await client.get("/v1/streams")).text)["data"] == []


@pytest.mark.parametrize("value", ["a/b", "openai,,x", "* , openai"])
def test_a_list_that_cannot_be_meant_is_refused(value: str) -> None:
    with pytest.raises(ValidationError, match="remote_files"):
        Settings(remote_files=value)
