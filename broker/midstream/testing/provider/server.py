"""A fake provider: a real HTTP server that speaks four dialects, does as it is told, and keeps books."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from midstream.testing.provider import chat_api, interactions_api, messages_api, responses_api
from midstream.testing.provider.event_stream import BreakableProtocol
from midstream.testing.provider.kept import Shelf
from midstream.testing.provider.ledger import Ledger
from midstream.testing.provider.script import RELEASED

LONGEST_WAIT_S = 20.0
BACKLOG = 1_024


async def calls(request: Request) -> Response:
    """`GET /calls`: every call since the last reset, in order."""
    return JSONResponse([call.as_json() for call in request.app.state.ledger.calls])


async def call_when(request: Request) -> Response:
    """`GET /calls/{number}/begun` and `/ended`: one call, as soon as it has come in, or its connection has ended.

    408 if that does not happen in time.
    """
    ledger: Ledger = request.app.state.ledger
    try:
        async with asyncio.timeout(LONGEST_WAIT_S):
            call = await ledger.call(request.path_params["number"])
            if request.path_params["when"] == "ended":
                await call.ended.wait()
    except TimeoutError:
        return Response(status_code=HTTPStatus.REQUEST_TIMEOUT)
    return JSONResponse(call.as_json())


async def reset(request: Request) -> Response:
    """`POST /reset`: forget all calls and stop all generations; scripts hold again."""
    RELEASED.clear()
    request.app.state.ledger.reset()
    await request.app.state.shelf.clear()
    return Response(status_code=204)


async def release(_: Request) -> Response:
    """`POST /release`: let all scripts that hold go on, until the next reset."""
    RELEASED.set()
    return Response(status_code=204)


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    app.state.ledger = Ledger()
    app.state.shelf = Shelf()
    yield
    await app.state.shelf.clear()


def create_app() -> Starlette:
    """Return the provider as an ASGI app."""
    routes = [
        Route("/v1/responses", responses_api.create, methods=["POST"]),
        Route("/v1/responses/input_tokens", responses_api.count_tokens, methods=["POST"]),
        Route("/v1/messages/count_tokens", messages_api.count_tokens, methods=["POST"]),
        Route("/v1/responses/{response_id}", responses_api.retrieve, methods=["GET"]),
        Route("/v1/responses/{response_id}/cancel", responses_api.cancel, methods=["POST"]),
        Route("/v1/chat/completions", chat_api.create, methods=["POST"]),
        Route("/v1/messages", messages_api.create, methods=["POST"]),
        Route("/{version}/interactions", interactions_api.create, methods=["POST"]),
        Route("/{version}/interactions/{interaction_id}", interactions_api.retrieve, methods=["GET"]),
        Route("/{version}/interactions/{interaction_id}/cancel", interactions_api.cancel, methods=["POST"]),
        Route("/calls", calls, methods=["GET"]),
        Route("/calls/{number:int}/{when}", call_when, methods=["GET"]),
        Route("/reset", reset, methods=["POST"]),
        Route("/release", release, methods=["POST"]),
    ]
    return Starlette(routes=routes, lifespan=_lifespan)


def run(port: int) -> None:
    """Serve on loopback until killed; the first line on stdout is the URL (port 0 takes a free one)."""
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(BACKLOG)
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)  # noqa: T201
        config = uvicorn.Config(
            create_app(),
            loop="asyncio",
            http=BreakableProtocol,
            log_level="critical",
            access_log=False,
            timeout_graceful_shutdown=1,
        )
        uvicorn.Server(config).run(sockets=[listener])
