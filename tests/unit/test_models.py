"""The catalogue is a function of the settings alone. Operation/Default."""

import re
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from midstream.access.provider_settings import ProviderServer
from midstream.requests.catalogue import MissingProviderKey, Model, UnknownModel, available, resolve, split
from midstream.requests.effective_params import needs_chat
from midstream.settings import Settings

OPENAI: dict[str, Any] = {"openai_api_key": SecretStr("sk-o")}
ANTHROPIC: dict[str, Any] = {"anthropic_api_key": SecretStr("sk-a")}
GEMINI: dict[str, Any] = {"gemini_api_key": SecretStr("AIza")}
APPS: dict[str, Any] = {"apps": {"mine": "module:function", "another": "module:other"}}
LOCAL: dict[str, Any] = {"local_url": "http://127.0.0.1:9/v1"}


@pytest.mark.parametrize(
    ("values", "default"),
    [
        ({**OPENAI, **ANTHROPIC, **LOCAL, "default_model": "demo/count"}, "demo/count"),
        ({**OPENAI, **ANTHROPIC, **LOCAL}, "openai/gpt-5.4-mini"),
        ({**ANTHROPIC, **LOCAL}, "anthropic/claude-sonnet-5"),
        ({**ANTHROPIC, **APPS}, "anthropic/claude-sonnet-5"),
        ({**GEMINI, **ANTHROPIC}, "anthropic/claude-sonnet-5"),
        ({**GEMINI, **APPS, **LOCAL}, "gemini/gemini-3.5-flash"),
        ({**LOCAL, **APPS}, "app/mine"),
        (LOCAL, "local/smollm2"),
        ({}, "demo/story"),
    ],
)
def test_the_default_is_the_best_there_is(values: dict[str, Any], default: str) -> None:
    settings = Settings(**values)
    assert resolve(None, settings) == default
    assert available(settings)[0].id == default


@pytest.mark.parametrize(
    "model",
    [
        "openai/anything-new",
        "anthropic/x",
        "local/smollm2",
        "demo/tools",
        "app/mine",
        "groq/meta/llama-3",
        "demo/story",
    ],
)
def test_a_known_model_is_itself(model: str) -> None:
    providers, apps = {"groq": "http://127.0.0.1:9/v1"}, {"mine": "module:function"}
    settings = Settings(**OPENAI, **ANTHROPIC, **LOCAL, providers=providers, apps=apps)
    assert resolve(model, settings) == model


@pytest.mark.parametrize(
    "model",
    ["", "gpt-5", "openai/", "/x", "local/other", "demo/other", "app/other", "other/x", "OpenAI/x", " demo/story"],
)
def test_an_unknown_model_is_told_what_there_is(model: str) -> None:
    settings = Settings(**OPENAI, **LOCAL, providers={"groq": "http://127.0.0.1:9/v1"}, apps={"mine": "m:f"})
    with pytest.raises(UnknownModel) as caught:
        resolve(model, settings)
    assert caught.value.model == model
    assert {"openai/*", "groq/*", "local/smollm2", "demo/story", "app/mine"} <= set(caught.value.models)
    assert "anthropic/*" not in caught.value.models


@pytest.mark.parametrize(
    ("model", "setting"),
    [("app/x", 'MIDSTREAM_APPS={"x": '), ("ollama/x", "MIDSTREAM_PROVIDERS"), ("local/x", "MIDSTREAM_LOCAL_URL")],
)
def test_an_unknown_model_names_the_setting_that_it_lacks(model: str, setting: str) -> None:
    with pytest.raises(UnknownModel, match=re.escape(setting)):
        resolve(model, Settings())


def test_the_local_model_needs_its_server() -> None:
    with pytest.raises(UnknownModel):
        resolve("local/smollm2", Settings())


@pytest.mark.parametrize(
    ("model", "variable"),
    [("openai/x", "OPENAI_API_KEY"), ("anthropic/x", "ANTHROPIC_API_KEY"), ("gemini/x", "GEMINI_API_KEY")],
)
def test_a_missing_key_is_named(model: str, variable: str) -> None:
    with pytest.raises(MissingProviderKey, match=variable) as caught:
        resolve(model, Settings())
    assert (caught.value.provider, caught.value.variable) == (model.split("/", maxsplit=1)[0], variable)


def test_the_default_model_is_checked_as_any_other() -> None:
    with pytest.raises(UnknownModel):
        resolve(None, Settings(default_model="nonsense"))
    with pytest.raises(MissingProviderKey):
        resolve(None, Settings(default_model="openai/gpt-5"))


@pytest.mark.parametrize("values", [{}, OPENAI, {**OPENAI, **ANTHROPIC, **LOCAL}, {"default_model": "groq/x"}])
def test_whatever_is_listed_can_be_asked_for(values: dict[str, Any]) -> None:
    settings = Settings(**values, providers={"groq": "http://127.0.0.1:9/v1"}, apps={"mine": "m:f"})
    listed = available(settings)
    assert [resolve(model.id, settings) for model in listed] == [model.id for model in listed]
    assert len({model.id for model in listed}) == len(listed)
    assert all(model.provider == split(model.id)[0] and model.description for model in listed)


def test_nothing_is_listed_twice_and_the_default_model_is() -> None:
    listed = available(Settings(**OPENAI, default_model="openai/gpt-5.2"))
    assert listed[0] == Model("openai/gpt-5.2", "openai", "the default model")
    assert [model.id for model in listed].count("openai/gpt-5.4-mini") == 1


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ({"url": "http://127.0.0.1:9/v1", "background": True}, "only the dialect"),
        ({"url": "ftp://127.0.0.1/v1", "dialect": "responses"}, "begins with none"),
        ({"url": "http://127.0.0.1:9/v1", "dialect": "assistants"}, "chat"),
        ({"url": "http://127.0.0.1:9/v1", "backgruond": True}, "backgruond"),
        ({"dialect": "responses"}, "url"),
    ],
)
def test_a_server_that_cannot_be_called_is_refused(server: dict[str, object], words: str) -> None:
    """Intent/Servers."""
    with pytest.raises(ValidationError, match=words):
        Settings.model_validate({"providers": {"vllm": server}})


def test_a_server_with_responses_is_called_by_chat_for_what_these_lack() -> None:
    """Faces/Lacking, Intent/Servers."""
    url = "http://127.0.0.1:9/v1"
    settings = Settings(providers={"vllm": ProviderServer(url=url, dialect="responses"), "groq": url})
    assert needs_chat("vllm/llama", {"seed": 3}, settings) == ["seed"]
    assert needs_chat("groq/llama", {"seed": 3}, settings) == []
