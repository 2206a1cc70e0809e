"""`/v1/models`: the models that can be asked for, in the shape of the peer that asks (PROTOCOL: Faces/Doors)."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Header, Response

from midstream.http.auth import ACaller
from midstream.http.json_response import JsonResponse
from midstream.log.entries import Json
from midstream.requests.catalogue import Model, available, default_of, resolve, split

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("", response_class=Response)
async def models(
    caller: ACaller,
    anthropic_version: Annotated[str | None, Header(description="If present, the list has Anthropic's shape.")] = None,
) -> Response:
    """List the available models. `default` marks the one that is used if a request names none."""
    catalogue = available(caller.settings, caller.streams.models)
    if anthropic_version is not None:
        data = [_anthropic_model(each) for each in catalogue]
        first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
        return JsonResponse({"data": data, "has_more": False, "first_id": first, "last_id": last})
    default = default_of(caller.settings, caller.streams.models)
    return JsonResponse(
        {"object": "list", "data": [_openai_model(each, default) for each in catalogue], "default": default}
    )


@router.get("/{model:path}", response_class=Response)
async def model(
    model: str,
    caller: ACaller,
    anthropic_version: Annotated[str | None, Header(description="If present, the model has Anthropic's shape.")] = None,
    x_stainless_lang: Annotated[
        str | None, Header(description="If present, the request comes from an SDK of OpenAI.")
    ] = None,
) -> Response:
    """Show an available model, even if it is not listed."""
    of_anthropic = anthropic_version is not None
    peer = "anthropic" if of_anthropic else "openai" if x_stainless_lang is not None else None
    # For a peer's SDK a name without a provider is one of that peer's models, as it is where a model is run.
    choice = caller.streams.models
    full_name = resolve(model if "/" in model or peer is None else f"{peer}/{model}", caller.settings, choice)
    listed = {each.id: each for each in available(caller.settings, choice)}
    answer = replace(listed.get(full_name) or Model(full_name, split(full_name)[0], ""), id=model)
    if anthropic_version is not None:
        return JsonResponse(_anthropic_model(answer))
    return JsonResponse(_openai_model(answer, default_of(caller.settings, choice)))


def _openai_model(model: Model, default: str | None) -> Json:
    return {
        "id": model.id,
        "object": "model",
        "created": 0,
        "owned_by": model.provider,
        "provider": model.provider,
        "description": model.description,
        "default": model.id == default,
    }


def _anthropic_model(model: Model) -> Json:
    return {
        "id": model.id,
        "type": "model",
        "display_name": model.id,
        "created_at": "1970-01-01T00:00:00Z",  # unknown, in Anthropic's own way of saying so
        "lifecycle": "active",
        **dict.fromkeys(("capabilities", "max_input_tokens", "max_tokens")),  # unknown as well
    }
