"""The page, the models, the probes."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, FastAPI, Header, Response
from fastapi.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from midstream.http.auth import AHouse, ATenant
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
) -> Response:
    """Show one model that can be asked for, also one that is not listed."""
    found = resolve(model, house.settings)
    listed = {known.id: known for known in available(house.settings)}
    shown = listed.get(found) or Model(found, split(found)[0], "")
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
async def module() -> Response:
    """Serve the browser's client; it is the very module that the page uses."""
    return _file("midstream.js", "text/javascript")


@router.get("/midstream/{name}.js", include_in_schema=False)
async def module_part(name: Literal["chat", "company", "network", "sse", "tail"]) -> Response:
    """Serve what the browser's client is made of."""
    return _file(f"midstream/{name}.js", "text/javascript")


@router.get("/midstream.d.ts", include_in_schema=False)
async def module_types() -> Response:
    """Serve the types of the browser's client."""
    return _file("midstream.d.ts", "text/plain")


def _file(name: str, media_type: str) -> Response:
    # Other origins may import it: it holds nothing that is not public.
    headers = {"Access-Control-Allow-Origin": "*", "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    return Response((PAGE / name).read_bytes(), headers=headers, media_type=media_type)


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
