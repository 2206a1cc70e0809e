"""`midstream.router`: our endpoints in somebody else's FastAPI app (PROTOCOL: Router)."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from secrets import token_hex
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request, Response, WebSocket
from pydantic import SecretStr

from midstream.embedded.own_address import serving
from midstream.embedded.own_server import own_server
from midstream.http.app import create_doors
from midstream.http.in_app.caller_dependency import CallerDependency
from midstream.http.in_app.doors import Doors, HandOver
from midstream.http.in_app.own_services import OwnServices
from midstream.settings import OPEN_TENANT, Settings

REST: Final = "midstream_path"
"""The name of the path parameter, which must not be one of the app's prefix."""
BELOW: Final = ("/v1", "/api/chat")
SOCKET: Final = "/v1/ws"
PUBLIC: Final = ("/midstream.js", "/midstream.d.ts")
METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def router(*, caller: Callable[..., Any], redis_url: str | None = None) -> APIRouter:
    """Return a router with the endpoints of callers, for `app.include_router(…, prefix="/streams")`.

    It opens with the app's lifespan; in an app that is mounted, whose lifespan nobody runs, with the first request. All
    other settings are the `MIDSTREAM_*` variables; those of a broker's keys, hosts and port do not hold, because the
    app says who calls.

    Args:
        caller: A dependency of the app's, like those that its own routes have. It returns the name of a user, or a
            `midstream.Caller`, and raises `HTTPException` to refuse the request.
        redis_url: The log's server; None for `MIDSTREAM_REDIS_URL`. Where that is not set either, the process runs a
            server of its own, which keeps its data in `MIDSTREAM_DATA_DIR`, as `midstream up` does.

    Raises:
        pydantic.ValidationError: A setting does not fit.
    """
    if not callable(caller):
        raise TypeError("`caller` has to be a dependency: a function that FastAPI can call, not its result")
    settings = _closed(redis_url)

    services = OwnServices(lambda: _with_server(settings))
    doors = Doors(create_doors(settings), services, CallerDependency(caller), Settings().allowed_origins)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with services.held():
            yield

    routes = APIRouter(lifespan=lifespan, include_in_schema=False)

    @routes.websocket(SOCKET)
    async def socket(socket: WebSocket) -> None:
        await doors.answer(SOCKET, socket.scope, socket.receive, socket.send)

    for root in BELOW:
        routes.add_api_route(f"{root}/{{{REST}:path}}", _endpoint(doors, root), methods=METHODS, response_model=None)
    for path in ("/api/chat", *PUBLIC):
        endpoint = _endpoint(doors, path, is_public=path in PUBLIC)
        routes.add_api_route(path, endpoint, methods=METHODS, response_model=None)
    return routes


def _endpoint(doors: Doors, root: str, *, is_public: bool = False) -> Callable[[Request], Awaitable[Response]]:
    async def midstream(request: Request) -> Response:
        rest = request.path_params.get(REST)
        return HandOver(doors, root if rest is None else f"{root}/{rest}", is_public=is_public)

    return midstream


@asynccontextmanager
async def _with_server(settings: Settings) -> AsyncIterator[Settings]:
    """Run a server where the settings name none; raises as `own_server`."""
    if "redis_url" in settings.model_fields_set:
        with serving(settings.redis_url.get_secret_value()):
            yield settings
        return
    async with own_server(settings) as address:
        with serving(address):
            yield settings.model_copy(update={"redis_url": SecretStr(address)})


def _closed(redis_url: str | None) -> Settings:
    """Return the settings of a broker that takes no key and no token: nobody knows the only key."""
    fields: dict[str, Any] = {
        "api_keys": SecretStr(f"{token_hex()}:{OPEN_TENANT}"),
        "keys_file": None,
        "jwt_issuer": "",
        "jwt_audience": "",
        "jwt_jwks": "",
        "cors_origins": "",
        "allowed_hosts": "",
    }
    return Settings(**fields) if redis_url is None else Settings(**fields, redis_url=SecretStr(redis_url))
