"""What a request's params ask for, and which API of its provider can do it (PROTOCOL: Faces/Lacking)."""

from typing import Any, Final

from midstream.requests.catalogue import split
from midstream.settings import Settings

Json = dict[str, Any]

# Values by which a param asks for nothing, beside null. Many clients send all the params they know.
_NOTHING: Final[Json] = {
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
_OF_CHAT_ALONE: Final = ("stop", "stop_sequences", "seed", "presence_penalty", "frequency_penalty", "logit_bias")
_OF_ANTHROPIC_ALONE: Final = ("betas",)
_LACKING: Final = {
    "openai": ("top_k",),
    "anthropic": ("seed", "presence_penalty", "frequency_penalty", "logit_bias"),
}


def asking(params: Json) -> Json:
    """Return params but for those that ask for nothing: not every provider takes them."""
    return {
        name: it for name, it in params.items() if it is not None and (name not in _NOTHING or it != _NOTHING[name])
    }


def of_chat_alone(params: Json) -> list[str]:
    """Return the names of the params that, of OpenAI's APIs, chat completions alone know."""
    asked = asking(params)
    return [name for name in _OF_CHAT_ALONE if name in asked]


def needs_chat(model: str, params: Json, settings: Settings) -> list[str]:
    """Return the params for which a call to OpenAI is made by chat completions, though Responses is its dialect."""
    if split(model)[0] != "openai" or settings.openai_dialect != "responses":
        return []
    return of_chat_alone(params)


def lacking(model: str, params: Json) -> list[str]:
    """Return the names of the params that no API of the model's provider knows."""
    asked, (provider, _) = asking(params), split(model)
    foreign = () if provider == "anthropic" else _OF_ANTHROPIC_ALONE
    return [name for name in (*_LACKING.get(provider, ()), *foreign) if name in asked]
