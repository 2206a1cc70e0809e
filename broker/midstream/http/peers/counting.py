"""Counts tokens where they can be counted: at the model's provider (PROTOCOL: Faces/Counting).

The broker asks by itself, and not by way of a worker: nothing is generated or paid for, so there is nothing that
would have to be durable, and a queue would only add its wait.
"""

import ssl
from functools import cache
from http import HTTPStatus
from typing import Any, Final

import httpx2
import orjson

from midstream.http.problems import Problem
from midstream.requests.catalogue import split
from midstream.settings import Settings

Json = dict[str, Any]

TIMEOUT_S: Final = 30.0
MOST_ANSWER_BYTES: Final = 65_536
MOST_MESSAGE_CHARS: Final = 500

_BASES: Final = {"openai": "https://api.openai.com/v1", "anthropic": "https://api.anthropic.com"}
_PATHS: Final = {"openai": "/responses/input_tokens", "anthropic": "/v1/messages/count_tokens"}
_TOLD: Final = (400, 404, 413, 422, 429)
"""What a provider says of the request itself, which its sender is told."""


async def count(settings: Settings, provider: str, model: str, body: Json, betas: list[str]) -> Json:
    """Return the count of a body in the provider's words, as the provider answers it.

    Args:
        settings: The provider's key and base URL.
        provider: The provider whose words the body is in.
        model: The full name of the model.
        body: What to count, but for its model.
        betas: Trials of Anthropic's to take part in.

    Raises:
        Problem: 404 `not_found`: the model is another provider's. Otherwise the provider's refusal, or its failure.
    """
    whose, name = split(model)
    if whose != provider:
        detail = f"Tokens are counted by the model's provider alone, and here only those of {provider}'s models."
        raise Problem(404, "not_found", detail, param="model")
    status, answer = await _asked(settings, provider, {**body, "model": name}, betas)
    if status == HTTPStatus.OK:
        return answer
    if status in _TOLD:
        error = answer.get("error")
        said = str(error.get("message") if isinstance(error, dict) else error)
        raise Problem(status, "provider_bad_request", f"{provider} answered: {_clean(said, settings, provider)}")
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise Problem(502, "provider_auth", f"{provider} refused the API key.")
    raise Problem(502, "provider_error", f"{provider} failed to count the tokens (HTTP {status}).")


async def _asked(settings: Settings, provider: str, body: Json, betas: list[str]) -> tuple[int, Json]:
    base_url = settings.openai_base_url if provider == "openai" else settings.anthropic_base_url
    url = (base_url or _BASES[provider]).rstrip("/") + _PATHS[provider]
    headers = {**_keyed(settings, provider), "Content-Type": "application/json", "Accept-Encoding": "identity"}
    if betas:
        headers["anthropic-beta"] = ",".join(betas)
    read = bytearray()
    try:
        async with (
            httpx2.AsyncClient(timeout=TIMEOUT_S, verify=_tls()) as client,
            client.stream("POST", url, content=orjson.dumps(body), headers=headers) as answer,
        ):
            async for piece in answer.aiter_raw():
                read += piece
                if len(read) > MOST_ANSWER_BYTES:
                    raise ValueError
        told = orjson.loads(read)
    except httpx2.TimeoutException:
        raise Problem(504, "provider_timeout", f"{provider} was silent for too long.") from None
    except httpx2.HTTPError:
        raise Problem(502, "provider_unreachable", f"{provider} could not be reached.") from None
    except ValueError:
        raise Problem(502, "provider_error", f"{provider} sent something that is no count.") from None
    return answer.status_code, told if isinstance(told, dict) else {}


def _keyed(settings: Settings, provider: str) -> dict[str, str]:
    key = _key(settings, provider)
    if provider == "openai":
        return {"Authorization": f"Bearer {key}"}
    return {"x-api-key": key, "anthropic-version": "2023-06-01"}


def _key(settings: Settings, provider: str) -> str:
    found = settings.openai_api_key if provider == "openai" else settings.anthropic_api_key
    return found.get_secret_value() if found else ""


def _clean(said: str, settings: Settings, provider: str) -> str:
    said = said.replace(_key(settings, provider) or "\0", "[secret]")
    return "".join(character for character in said if character.isprintable())[:MOST_MESSAGE_CHARS]


@cache
def _tls() -> ssl.SSLContext:
    """Return the one context of the process: making one reads all certificates, and blocks the loop meanwhile."""
    return ssl.create_default_context()
