"""How the Python client shows a token that ends. Programs import `client.py`."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final

import httpx2

UNAUTHORIZED: Final = 401

Token = str | Callable[[], str | Awaitable[str]]


class BearerAuth(httpx2.Auth):
    """Sends a token with each request; one that the broker refuses (401) is asked for anew, once for each request."""

    def __init__(self, token: Token) -> None:
        self._token = token

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """Yield a request, and once more where its token was refused."""
        await self._sign(request)
        response = yield request
        if response.status_code == UNAUTHORIZED and callable(self._token):
            await self._sign(request)
            yield request

    async def _sign(self, request: httpx2.Request) -> None:
        token = self._token() if callable(self._token) else self._token
        if not isinstance(token, str):
            token = await token
        request.headers["Authorization"] = f"Bearer {token}"
