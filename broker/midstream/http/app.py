"""The app of one broker process: its routes and middleware over one service layer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from midstream.http import cors, docs_page, model_routes, noted_errors, probe_routes, site
from midstream.http.ai_sdk import ai_sdk_routes
from midstream.http.body_limit import BodyLimit
from midstream.http.chat import chat_routes
from midstream.http.head import head_of
from midstream.http.json_only import JsonOnly
from midstream.http.messages import messages_routes
from midstream.http.native import (
    events_route,
    producer_routes,
    session_routes,
    stream_routes,
    thread_routes,
    token_routes,
    user_routes,
)
from midstream.http.noted_errors import noted
from midstream.http.operate import (
    act_routes,
    audit_routes,
    cost_routes,
    drain_routes,
    fleet_routes,
    many_acts_route,
    outlet_routes,
    search_routes,
)
from midstream.http.page_guard import PageGuard
from midstream.http.peers import absent_routes
from midstream.http.peers.deliveries import Deliveries
from midstream.http.request_ids import RequestIds
from midstream.http.responses import responses_routes
from midstream.http.socket import ws
from midstream.service.services import Services, open_services
from midstream.settings import Settings

VERSION: Final = version("midstream")
FORWARDED: Final = frozenset((b"x-forwarded-for", b"x-forwarded-proto"))
"""Headers by which a proxy tells where a request comes from (PROTOCOL: Http/Proxies)."""
LOOPBACK: Final = ("127.0.0.1", "::1")
"""Where a proxy is believed without a setting."""


def _included(*routers: APIRouter) -> tuple[BaseRoute, ...]:
    """Return the routes of routers, which all apps of a process share.

    FastAPI completes the routes of a router once for each time that it is included, at the first request: for all of
    ours that takes 30 ms.
    """
    parent = APIRouter()
    for router in routers:
        parent.include_router(router)
    return tuple(parent.routes)


_DOORS_ROUTES: Final = _included(
    stream_routes.router,
    producer_routes.router,
    thread_routes.router,
    user_routes.router,
    ws.router,
    ai_sdk_routes.router,
    responses_routes.router,
    chat_routes.router,
    messages_routes.router,
    absent_routes.router,
    model_routes.router,
)
"""What callers ask for, beside `GET /events`."""
_OPERATORS_ROUTES: Final = _included(
    token_routes.router,
    session_routes.router,
    search_routes.router,
    act_routes.router,
    many_acts_route.router,
    drain_routes.router,
    audit_routes.router,
    outlet_routes.router,
    cost_routes.router,
    fleet_routes.router,
    probe_routes.router,
)
"""What operators, their tools and a balancer ask for."""


class BrokerApp(FastAPI):
    """FastAPI's app, inside the rules that hold for every request, whatever answers it.

    What holds for every request before its sender is known belongs among these rules. `add_middleware` is for what
    concerns FastAPI's routes alone: `GET /events` does not pass through it, where tails of all other formats do. Limits
    of a tenant stand in the service layer: `Room` for what is held open, `Admission` for starts.

    Attributes:
        services: The service layer, while the app's lifespan lasts.
    """

    services: Services

    def __init__(self, settings: Settings, **options: Any) -> None:
        super().__init__(**options)
        self._guard = PageGuard(settings)
        self._routes = RequestIds(super().__call__)
        self._with_rules = cors.allowed(self._answer, settings)
        proxies = [*LOOPBACK, *filter(None, map(str.strip, settings.trusted_proxies.split(",")))]
        self._by_proxy = ProxyHeadersMiddleware(self._with_rules, proxies)  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        scope["app"] = self
        if scope["type"] != "lifespan" and not FORWARDED.isdisjoint(head_of(scope)):
            await self._by_proxy(scope, receive, send)  # type: ignore[arg-type]
        else:
            await self._with_rules(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = self._guard.problem(scope)
        if problem is not None:
            await noted(problem, scope).response(scope)(scope, receive, send)
        elif events_route.is_for(scope):
            await events_route.answer(scope, receive, send)
        else:
            await self._routes(scope, receive, send)


def create_app(settings: Settings) -> BrokerApp:
    """Return the ASGI app of one broker process; it connects when its lifespan starts."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with open_services(settings) as services:
            app.services = services
            yield

    app = BrokerApp(
        settings,
        title="midstream",
        description="A resumable stream broker with a durable event log. See broker/PROTOCOL.md.",
        version=VERSION,
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    _install_rules(app, settings)
    _install_doors(app)
    app.router.routes.extend(_OPERATORS_ROUTES)
    site.install(app)
    docs_page.install(app, {events_route.PATH: events_route.DESCRIPTION})
    return app


def create_doors(settings: Settings) -> BrokerApp:
    """Return the endpoints of callers alone, for an app that says who calls; set `services` before a request comes."""
    app = BrokerApp(settings, openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    _install_rules(app, settings)
    _install_doors(app)
    app.include_router(site.module_router)
    return app


def _install_rules(app: BrokerApp, settings: Settings) -> None:
    """Install what holds for all routes of FastAPI's."""
    noted_errors.install(app)
    app.add_middleware(site.PageHeaders)
    app.add_middleware(JsonOnly)
    app.add_middleware(Deliveries)
    app.add_middleware(BodyLimit, settings=settings)


def _install_doors(app: BrokerApp) -> None:
    """Serve what callers ask for."""
    app.router.routes.extend(_DOORS_ROUTES)
    events_route.install(app)
