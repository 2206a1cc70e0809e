"""Counts tokens where they can be counted, at the model's provider (PROTOCOL: Faces/Counting).

The broker asks the provider itself. Nothing is generated or paid for, so nothing has to be durable, and a worker's
queue would only add its wait.
"""

import ssl
from functools import cache
from http import HTTPStatus
from typing import Final

import httpx2
import orjson

from midstream.http.problems import Problem
from midstream.log.entries import Json
from midstream.requests.betas import refuse_betas
from midstream.requests.catalogue import split
from midstream.requests.provider_objects import refuse_objects
from midstream.requests.remote_files import refuse_remote_files
from midstream.settings import Settings

TIMEOUT_S: Final = 30.0
MOST_ANSWER_BYTES: Final = 65_536
MOST_MESSAGE_CHARS: Final = 500

_BASES: Final = {"openai": "https://api.openai.com/v1", "anthropic": "https://api.anthropic.com"}
_PATHS: Final = {"openai": "/responses/input_tokens", "anthropic": "/v1/messages/count_tokens"}
_PASSED_ON: Final = (400, 404, 413, 422, 429)
"""Statuses by which a provider judges the request itself; its sender gets them."""


async def count(settings: Settings, provider: str, model: str, body: Json, betas: list[str]) -> Json:
    """Return the provider's answer to the question how many tokens a body has.

    Args:
        settings: The provider's key and base URL.
        provider: The provider whose dialect the body is in.
        model: The full name of the model.
        body: What to count, without the model.
        betas: Beta features of Anthropic's to ask for.

    Raises:
        ProviderObjectError: The body names an object at the provider that all tenants would share.
        RemoteFileError: It holds a URL that the provider may not be sent.
        BetasError: The beta features cannot stand in a header.
        Problem: 404 `not_found`: the model is another provider's. 422 `missing_provider_key`: this broker has no key.
            Else the provider's refusal, or its failure.
    """
    its_provider, name = split(model)
    if its_provider != provider:
        detail = f"Tokens are counted by the model's provider alone, and here only those of {provider}'s models."
        raise Problem(404, "not_found", detail, param="model")
    items = body.get("input") or body.get("messages")
    params = {name: value for name, value in body.items() if name not in ("input", "messages")}
    prompt = items if isinstance(items, list) else ()
    refuse_objects(model, params, prompt, settings)
    refuse_remote_files(model, prompt, settings)
    refuse_betas(model, {"betas": betas})
    if not settings.key_of(provider):
        raise Problem(422, "missing_provider_key", f"This broker has no key of {provider}, so it cannot count tokens.")
    status, answer = await _ask(settings, provider, {**body, "model": name}, betas)
    if status == HTTPStatus.OK:
        return answer
    if status in _PASSED_ON:
        error = answer.get("error")
        message = str(error.get("message") if isinstance(error, dict) else error)
        raise Problem(status, "provider_bad_request", f"{provider} answered: {_clean(message, settings, provider)}")
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise Problem(502, "provider_auth", f"{provider} refused the API key.")
    raise Problem(502, "provider_error", f"{provider} failed to count the tokens (HTTP {status}).")


async def _ask(settings: Settings, provider: str, body: Json, betas: list[str]) -> tuple[int, Json]:
    base_url = settings.openai_base_url if provider == "openai" else settings.anthropic_base_url
    url = (base_url or _BASES[provider]).rstrip("/") + _PATHS[provider]
    headers = {**_key_headers(settings, provider), "Content-Type": "application/json", "Accept-Encoding": "identity"}
    if betas:
        headers["anthropic-beta"] = ",".join(betas)
    received = bytearray()
    try:
        async with (
            httpx2.AsyncClient(timeout=TIMEOUT_S, verify=_tls()) as client,
            client.stream("POST", url, content=orjson.dumps(body), headers=headers) as answer,
        ):
            async for piece in answer.aiter_raw():
                received += piece
                if len(received) > MOST_ANSWER_BYTES:
                    raise ValueError
        document = orjson.loads(received)
    except httpx2.TimeoutException:
        raise Problem(504, "provider_timeout", f"{provider} was silent for too long.") from None
    except httpx2.HTTPError:
        raise Problem(502, "provider_unreachable", f"{provider} could not be reached.") from None
    except ValueError:
        raise Problem(502, "provider_error", f"{provider} sent something that is no count.") from None
    return answer.status_code, document if isinstance(document, dict) else {}


def _key_headers(settings: Settings, provider: str) -> dict[str, str]:
    key = settings.key_of(provider)
    if provider == "openai":
        return {"Authorization": f"Bearer {key}"}
    return {"x-api-key": key, "anthropic-version": "2023-06-01"}


def _clean(message: str, settings: Settings, provider: str) -> str:
    message = message.replace(settings.key_of(provider) or "\0", "[secret]")
    return "".join(character for character in message if character.isprintable())[:MOST_MESSAGE_CHARS]


@cache
def _tls() -> ssl.SSLContext:
    """Return the one context of the process. To make one reads all certificates, which blocks the event loop."""
    return ssl.create_default_context()
