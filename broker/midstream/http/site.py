"""The page, the models, the probes."""

from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import APIRouter, FastAPI, Header, Response
from fastapi.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from midstream.http.auth import AHouse, ATenant
from midstream.http.module_bundle import bundled
from midstream.http.native.stream_routes import JSON
from midstream.requests.catalogue import Model, available, resolve, split

router = APIRouter()

PAGE: Final = Path(__file__).parent.parent / "page"
POLICY: Final = b"default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


@router.get("/", include_in_schema=False)
async def index() -> Response:
    """Serve the chat page; it is its own key-holder, so it needs none."""
    return Response((PAGE / "index.html").read_bytes(), media_type="text/html")


@router.get("/v1/models", tags=["models"], response_class=Response)
async def models(
    house: AHouse,
    tenant: ATenant,  # noqa: ARG001
    anthropic_version: Annotated[str | None, Header(description="present: the list is of Anthropic's shape")] = None,
) -> Response:
    """List the models that can be asked for; `default` marks the one used when none is named."""
    known = available(house.settings)
    if anthropic_version is not None:
        data = [_anthropic_model(model) for model in known]
        return JSON({"data": data, "has_more": False, "first_id": data[0]["id"], "last_id": data[-1]["id"]})
    default = resolve(None, house.settings)
    return JSON({"object": "list", "data": [_openai_model(model, default) for model in known], "default": default})


@router.get("/v1/models/{model:path}", tags=["models"], response_class=Response)
async def model(
    model: str,
    house: AHouse,
    tenant: ATenant,  # noqa: ARG001
    anthropic_version: Annotated[str | None, Header(description="present: the model is of Anthropic's shape")] = None,
    x_stainless_lang: Annotated[str | None, Header(description="present: an SDK of OpenAI's asks")] = None,
) -> Response:
    """Show one model that can be asked for, also one that is not listed."""
    of_anthropic = anthropic_version is not None
    peer = "anthropic" if of_anthropic else "openai" if x_stainless_lang is not None else None
    # Asked by a peer's SDK, a name without a provider is of that peer, as it is where a model is run.
    found = resolve(model if "/" in model or peer is None else f"{peer}/{model}", house.settings)
    listed = {known.id: known for known in available(house.settings)}
    shown = replace(listed.get(found) or Model(found, split(found)[0], ""), id=model)
    if anthropic_version is not None:
        return JSON(_anthropic_model(shown))
    return JSON(_openai_model(shown, resolve(None, house.settings)))


def _openai_model(model: Model, default: str) -> dict[str, Any]:
    return {
        "id": model.id,
        "object": "model",
        "created": 0,
        "owned_by": model.provider,
        "provider": model.provider,
        "description": model.description,
        "default": model.id == default,
    }


def _anthropic_model(model: Model) -> dict[str, Any]:
    return {
        "id": model.id,
        "type": "model",
        "display_name": model.id,
        "created_at": "1970-01-01T00:00:00Z",  # unknown, in Anthropic's own way of saying so
        "lifecycle": "active",
        **dict.fromkeys(("capabilities", "max_input_tokens", "max_tokens")),  # unknown as well
    }


@router.get("/healthz", tags=["probes"], response_class=Response)
async def healthz() -> Response:
    """Answer while the process lives."""
    return JSON({"status": "ok"})


@router.get("/readyz", tags=["probes"], response_class=Response)
async def readyz(house: AHouse) -> Response:
    """Answer 200 when generations can be started, else 503 `log_unavailable` or `log_full`."""
    await house.registry.ready()
    return JSON({"status": "ok", "model": resolve(None, house.settings)})


@router.get("/midstream.js", include_in_schema=False)
async def module(if_none_match: Annotated[str | None, Header()] = None) -> Response:
    """Serve the browser's client; it is the very module that the page uses."""
    return _public(_module(), "text/javascript", if_none_match)


@router.get("/midstream.d.ts", include_in_schema=False)
async def module_types(if_none_match: Annotated[str | None, Header()] = None) -> Response:
    """Serve the types of the browser's client."""
    return _public((PAGE / "midstream.d.ts").read_bytes(), "text/plain", if_none_match)


@cache
def _module() -> bytes:
    return bundled(PAGE)


def _public(content: bytes, media_type: str, if_none_match: str | None) -> Response:
    tag = f'"{sha256(content).hexdigest()[:32]}"'
    headers = {
        "Access-Control-Allow-Origin": "*",  # other origins may import it: it holds nothing that is not public
        "Cache-Control": "no-cache",
        "ETag": tag,
        "X-Content-Type-Options": "nosniff",
    }
    # A proxy that compresses makes the tag a weak one.
    if if_none_match is not None and tag in [each.strip().removeprefix("W/") for each in if_none_match.split(",")]:
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=media_type)


class PageHeaders:
    """Puts the page's security headers on everything below `/page` and on `/` itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        path = scope.get("path", "")
        if scope["type"] != "http" or not (path == "/" or path.startswith("/page/")):
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    (b"content-security-policy", POLICY),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),  # the stream's id stands in the URL
                    (b"cache-control", b"no-cache"),
                ]
            await send(message)

        await self._app(scope, receive, with_headers)


def install(app: FastAPI) -> None:
    """Mount the page's files and the routes of this module."""
    app.include_router(router)
    app.mount("/page", StaticFiles(directory=PAGE), name="page")
