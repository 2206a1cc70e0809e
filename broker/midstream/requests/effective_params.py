"""Which params of a request have an effect, and which API of its provider takes them (PROTOCOL: Faces/Lacking)."""

from typing import Final

from midstream.log.entries import Json
from midstream.requests.catalogue import split
from midstream.settings import Settings

# Values by which a param asks for nothing, like null does. Many clients send all the params that they know.
_WITHOUT_EFFECT: Final[Json] = {
    "n": 1,
    "logprobs": False,
    "top_logprobs": 0,
    "modalities": ["text"],
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "logit_bias": {},
    "stop": [],
    "stop_sequences": [],
}
_CHAT_ONLY: Final = ("stop", "stop_sequences", "seed", "presence_penalty", "frequency_penalty", "logit_bias")
_ANTHROPIC_ONLY: Final = ("betas",)
_UNSUPPORTED: Final = {
    "openai": ("top_k",),
    "anthropic": ("seed", "presence_penalty", "frequency_penalty", "logit_bias"),
    "gemini": ("top_k", "presence_penalty", "frequency_penalty", "logit_bias"),
}


def effective(params: Json) -> Json:
    """Return the params without those that ask for nothing, because not every provider takes these."""
    return {
        name: value
        for name, value in params.items()
        if value is not None and (name not in _WITHOUT_EFFECT or value != _WITHOUT_EFFECT[name])
    }


def chat_only(params: Json) -> list[str]:
    """Return the names of the params that OpenAI takes by chat completions, but not by Responses."""
    names = effective(params)
    return [name for name in _CHAT_ONLY if name in names]


def needs_chat(model: str, params: Json, settings: Settings) -> list[str]:
    """Return the names of the params for which a provider is called by chat completions although Responses is set."""
    return chat_only(params) if settings.has_responses(split(model)[0]) else []


def unsupported_params(model: str, params: Json) -> list[str]:
    """Return the names of the params that no API of the model's provider takes."""
    names, (provider, _) = effective(params), split(model)
    foreign = () if provider == "anthropic" else _ANTHROPIC_ONLY
    return [name for name in (*_UNSUPPORTED.get(provider, ()), *foreign) if name in names]
