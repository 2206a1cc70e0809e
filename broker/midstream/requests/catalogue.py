"""The catalogue: which models there are, by the settings alone; no SDK is imported for it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from midstream.access.provider_settings import KEYED, key_variable
from midstream.settings import Settings

OPENAI_MODEL: Final = "openai/gpt-5.4-mini"
ANTHROPIC_MODEL: Final = "anthropic/claude-sonnet-5"
GEMINI_MODEL: Final = "gemini/gemini-3.5-flash"
LOCAL_MODEL: Final = "local/smollm2"
DEMO_MODEL: Final = "demo/story"

DEMO_MODELS: Final = {
    "story": "canned text, word by word; needs no key",
    "count": "the numbers from 1",
    "reasoning": "canned text after canned reasoning",
    "tools": "canned text, then a tool call",
}

FREE_PROVIDERS: Final = ("demo", "local")
"""Providers whose calls cost nothing."""


class UnknownModel(Exception):
    """There is no such provider or model.

    Attributes:
        model: What was asked for.
        models: What there is; `openai/*` stands for any model of that provider.
    """

    def __init__(self, model: str, models: list[str]) -> None:
        super().__init__(f"There is no model {model!r}. There is: {', '.join(models) or 'none'}. {_set_up_by(model)}")
        self.model = model
        self.models = models


class MissingProviderKey(Exception):
    """The provider is known, but its API key is not set, and the settings do not say that the workers have it.

    Attributes:
        provider: The provider's name.
        variable: The environment variable to set.
    """

    def __init__(self, provider: str, variable: str) -> None:
        super().__init__(f"Models of {provider} need an API key: set {variable}.")
        self.provider = provider
        self.variable = variable


def _set_up_by(model: str) -> str:
    """Return a sentence that names the setting by which there would be such a model."""
    provider, name = split(model)
    match provider:
        case "app":
            return f'An app is set up by MIDSTREAM_APPS={{"{name or "name"}": "module:function"}}.'
        case "local":
            return "The local model is set up by MIDSTREAM_LOCAL_URL."
        case "demo":
            return "The demo has no others."
    return "A model is named provider/name; other providers are set up by MIDSTREAM_PROVIDERS."


@dataclass(frozen=True, slots=True)
class Model:
    """One model that can be asked for by its id, `provider/name`."""

    id: str
    provider: str
    description: str


@dataclass(frozen=True, slots=True)
class Choice:
    """Which models a caller may use; a model that it may not is like one that does not exist (PROTOCOL: Access/Models).

    Attributes:
        lists: Lists of patterns, names at whose end a `*` may stand. A model has to fit one of each list.
    """

    lists: tuple[tuple[str, ...], ...] = ()

    def allows(self, model: str) -> bool:
        """Tell whether the caller may use a model, by its full name."""
        return all(any(_fits(model, pattern) for pattern in patterns) for patterns in self.lists)

    @property
    def named(self) -> set[str]:
        """The models that the lists name in full."""
        return {each for patterns in self.lists for each in patterns if each[-1] != ANY and self.allows(each)}


ANY: Final = "*"
EVERY_MODEL: Final = Choice()


def resolve(model: str | None, settings: Settings, choice: Choice = EVERY_MODEL) -> str:
    """Return the full name of the model to use; `None` asks for the default, or the first one that may be used.

    Raises:
        UnknownModel: There is no such provider, or it has no such model, or the caller may not use it.
        MissingProviderKey: The provider's key is not set.
    """
    if model is None:
        model = default_of(settings, choice)
    provider, name = split(model or "")
    if not model or not name or not _has(provider, name, settings) or not choice.allows(model):
        models = [*(each.id for each in available(settings, choice)), *_open_ended(settings, choice)]
        raise UnknownModel("of any name" if model is None else model, models)
    if provider in KEYED and not settings.offers(provider):
        raise MissingProviderKey(provider, key_variable(provider))
    return model


def split(model: str) -> tuple[str, str]:
    """Return provider and name of a full model name; a name may hold slashes of its own."""
    provider, _, name = model.partition("/")
    return provider, name


APP: Final = "app/"
"""What the full name of an app begins with."""


def is_app(model: str) -> bool:
    """Tell whether a model, by its full name, is the user's own app."""
    return model.startswith(APP)


def available(settings: Settings, choice: Choice = EVERY_MODEL) -> list[Model]:
    """Return the models that can be asked for, the default one first."""
    default = _default(settings)
    listed = {each.id: each for each in _listed(settings) if choice.allows(each.id)}
    for model in sorted(choice.named - listed.keys()):
        if _is_usable(model, settings):
            listed[model] = Model(model, split(model)[0], "")
    return sorted(listed.values(), key=lambda each: each.id != default)


def default_of(settings: Settings, choice: Choice = EVERY_MODEL) -> str | None:
    """Return the model of a request that names none; None: there is none that the caller may use."""
    default = _default(settings)
    if choice.allows(default):
        return default
    return next((each.id for each in available(settings, choice)), None)


def _listed(settings: Settings) -> Iterator[Model]:
    ids = []
    if settings.offers("openai"):
        ids.append((OPENAI_MODEL, "any other model of OpenAI goes as well, by its name"))
    if settings.offers("anthropic"):
        ids.append((ANTHROPIC_MODEL, "any other model of Anthropic goes as well, by its name"))
    if settings.offers("gemini"):
        ids.append((GEMINI_MODEL, "any other model of Gemini goes as well, by its name"))
    if settings.local_url is not None:
        ids.append((LOCAL_MODEL, "a small model that runs on this machine"))
    ids += [(f"demo/{name}", description) for name, description in DEMO_MODELS.items()]
    ids += [(f"app/{name}", f"your own source, {path}") for name, path in settings.apps.items()]
    default = settings.default_model
    if default is not None and default not in dict(ids) and _has(*split(default), settings):
        ids.append((default, "the default model"))
    return (Model(full_name, split(full_name)[0], description) for full_name, description in ids)


def _default(settings: Settings) -> str:
    if settings.default_model is not None:
        return settings.default_model
    if settings.offers("openai"):
        return OPENAI_MODEL
    if settings.offers("anthropic"):
        return ANTHROPIC_MODEL
    if settings.offers("gemini"):
        return GEMINI_MODEL
    if settings.apps:  # who brings an app of their own, and no key, means that
        return f"app/{next(iter(settings.apps))}"
    return LOCAL_MODEL if settings.local_url is not None else DEMO_MODEL


def _has(provider: str, name: str, settings: Settings) -> bool:
    match provider:
        case "openai" | "anthropic" | "gemini":
            return True
        case "local":
            return settings.local_url is not None and f"local/{name}" == LOCAL_MODEL
        case "demo":
            return name in DEMO_MODELS
        case "app":
            return name in settings.apps
    return provider in settings.providers


def _is_usable(model: str, settings: Settings) -> bool:
    try:
        return resolve(model, settings) == model
    except (UnknownModel, MissingProviderKey):
        return False


def _fits(model: str, pattern: str) -> bool:
    return model.startswith(pattern[:-1]) if pattern[-1] == ANY else model == pattern


def _open_ended(settings: Settings, choice: Choice) -> list[str]:
    """Return the providers of which any model can be asked for."""
    providers = (*filter(settings.offers, KEYED), *settings.providers)
    return [each for each in (f"{name}/{ANY}" for name in providers) if choice.allows(each)]
