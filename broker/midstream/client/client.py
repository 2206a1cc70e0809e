"""The Python client: starts streams, and reads them through any number of cuts.

It needs only `httpx2` and the files beside it, so this folder can be copied into another program. `midstream.sync` is
the same client for programs without an event loop.

    async with Midstream("http://127.0.0.1:8080") as midstream:
        stream = await midstream.start("Tell me of rivers")
        async for entry in midstream.tail(stream["id"]):
            print(entry.data.get("text", ""), end="")
"""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Final, Self
from urllib.parse import quote

import httpx2

from midstream.client.client_bearer import BearerAuth, Token
from midstream.client.client_tail import (
    CONNECT_TIMEOUT_S,
    RETRY_MS,
    ClientEntry,
    Item_co,
    MidstreamError,
    Position,
    RefusedForNowError,
    StreamPosition,
    Tail,
    backoff_s,
    path_of,
    raise_for_problem,
)
from midstream.client.client_thread import ThreadEntry, ThreadPosition, path_of_thread

__all__ = ["ClientEntry", "Midstream", "MidstreamError", "ThreadEntry"]

DEFAULT_URL: Final = "http://127.0.0.1:8080"
HEARTBEAT_S: Final = 15.0
"""The broker's own default."""
REPLY_TIMEOUT_S: Final = 30.0
MAX_FAILURES: Final = 20
"""Connections in a row without anything new before `tail` gives up: about two minutes of back-off."""
REQUEST_TRIES: Final = 4


class Midstream:
    """A client of one broker; an async context manager.

    It may be used in any event loop, and in several loops one after another (`asyncio.run` twice). Connections that are
    not closed by `aclose` are closed when their loop ends.

    Args:
        base_url: The broker's address.
        api_key: Sent as a bearer token.
        token: The same for a token that ends: a text, or a function, with `async` or without, which is asked for a
            valid token before each request. Where the broker refuses that one, it is asked once more, and the request
            is sent again; a tail goes on after what it has read. What it raises ends the request or the tail.
        heartbeat_s: The broker's heartbeat, in seconds. A connection that is silent for three of them is dead.
        max_failures: Connections in a row without anything new before `tail` gives up.
        tries: How often any other request is sent if the broker does not answer or is overloaded.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        api_key: str | None = None,
        *,
        token: Token | None = None,
        heartbeat_s: float = HEARTBEAT_S,
        max_failures: int = MAX_FAILURES,
        tries: int = REQUEST_TRIES,
    ) -> None:
        self._heartbeat_s = heartbeat_s
        self._max_failures = max_failures
        self._tries = tries
        self._base_url = base_url
        bearer = token or api_key
        self._auth = BearerAuth(bearer) if bearer else None
        self._opened: dict[asyncio.AbstractEventLoop, tuple[httpx2.AsyncClient, AsyncGenerator[None, None]]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections of this loop. Streams go on."""
        _, keeper = self._opened.get(asyncio.get_running_loop(), (None, None))
        if keeper is not None:
            await keeper.aclose()

    async def start(
        self,
        prompt: str | Sequence[Mapping[str, Any]],
        *,
        model: str | None = None,
        idempotency_key: str | None = None,
        **fields: Any,
    ) -> dict[str, Any]:
        """Start a stream and return its state; `id` is its name.

        Args:
            prompt: A prompt, or chat messages.
            model: `provider/name`; None means the broker's default model.
            idempotency_key: A second start with the same key finds the stream and is not paid again. None means a
                random key, so that the retries of this call are not paid again.
            fields: Further fields of `POST /v1/streams`: params, chunking, on_worker_loss, thread, if_active,
                metadata, ttl_s.

        Raises:
            MidstreamError: The broker refuses, or cannot be reached.
        """
        body = {"input": prompt} if isinstance(prompt, str) else {"messages": list(prompt)}
        options = {name: value for name, value in {"model": model, **fields}.items() if value is not None}
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return await self._object("POST", "/v1/streams", json=body | options, headers=headers)

    def tail(self, stream_id: str, after: int = 0) -> AsyncGenerator[ClientEntry, None]:
        """Yield the entries after offset `after`, up to the `end` entry. Each one comes once, and none is left out.

        It connects again after a cut, a time-out, or a refusal by an overloaded broker. After a `reset` the
        caller must forget the text so far. Close the generator (`contextlib.aclosing`) if its loop may be left early.

        Raises:
            MidstreamError: There is no such stream, its past is gone (`cursor_trimmed`), or `max_failures` connections
                in a row brought nothing (`unreachable`).
        """
        return self._tail(path_of(stream_id), StreamPosition(after))

    async def state(self, stream_id: str, wait_s: float | None = None) -> dict[str, Any]:
        """Return a stream's state. With `wait_s`, wait for its end first, for at most so many seconds.

        Raises:
            MidstreamError: There is no such stream, or the broker cannot be reached.
        """
        params = {} if wait_s is None else {"wait": wait_s}
        return await self._object("GET", path_of(stream_id), params=params, patience_s=wait_s or 0.0)

    async def entries(self, stream_id: str, after: int = 0, limit: int | None = None) -> Sequence[ClientEntry]:
        """Return a page of the log's entries after offset `after`; it is empty at the tail.

        Raises:
            MidstreamError: There is no such stream, its past is gone, or the broker cannot be reached.
        """
        params = {"after": after} if limit is None else {"after": after, "limit": limit}
        page = await self._object("GET", f"{path_of(stream_id)}/entries", params=params)
        return [_entry(row) for row in page["data"]]

    async def list(
        self,
        *,
        status: str | None = None,
        thread: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> dict[str, Any]:
        """Return a page of streams, the newest first: `data`, and the `next_cursor` for the next page, or None.

        Raises:
            MidstreamError: The broker refuses, or cannot be reached.
        """
        params = {"status": status, "thread": thread, "limit": limit, "cursor": cursor}
        filters = {name: value for name, value in params.items() if value is not None}
        return await self._object("GET", "/v1/streams", params=filters)

    async def threads(self, *, limit: int | None = None, cursor: str | None = None) -> dict[str, Any]:
        """Return a page of threads, the last one first: `data` and `next_cursor`. Raises as `list`."""
        params = {"limit": limit, "cursor": cursor}
        options = {name: value for name, value in params.items() if value is not None}
        return await self._object("GET", "/v1/threads", params=options)

    async def thread(self, thread: str, *, limit: int | None = None, cursor: str | None = None) -> dict[str, Any]:
        """Return a thread's messages: those of its last streams, or of the ones before a `next_cursor`.

        Raises:
            MidstreamError: There is no such thread, or the broker cannot be reached.
        """
        params = {"limit": limit, "cursor": cursor}
        options = {name: value for name, value in params.items() if value is not None}
        return await self._object("GET", path_of_thread(thread), params=options)

    def tail_thread(self, thread: str, after: str | None = None) -> AsyncGenerator[ThreadEntry, None]:
        """Yield what came in a thread after a cursor, and what comes: the entries of its streams, one after the other.

        Before a stream's entries comes `stream_started`, with the user's new `messages`, and after them `stream_ended`.
        What anybody starts in the thread later comes as well, so there is no end: leave the loop, and close the
        generator (`contextlib.aclosing`). It connects again as `tail` does.

        Args:
            thread: The thread's name.
            after: The `cursor` of an entry, or of `thread`'s answer; None: the thread's start.

        Raises:
            MidstreamError: There is no such thread, or `max_failures` connections in a row brought nothing.
        """
        return self._tail(path_of_thread(thread), ThreadPosition(after))

    async def delete_thread(self, thread: str) -> None:
        """Delete all streams of a thread. Those that still run are stopped first.

        Raises:
            MidstreamError: There is no such thread, or the broker cannot be reached.
        """
        await self._request("DELETE", path_of_thread(thread), tries=1)  # as for `delete`

    async def cancel(self, stream_id: str) -> dict[str, Any]:
        """Stop a stream and return its state. A stream that has ended stays as it is.

        Raises:
            MidstreamError: There is no such stream, or the broker cannot be reached.
        """
        return await self._object("POST", f"{path_of(stream_id)}/cancel")

    async def delete(self, stream_id: str) -> None:
        """Delete a stream. A stream that still runs is stopped first.

        Raises:
            MidstreamError: There is no such stream, or the broker cannot be reached.
        """
        # One try only: if its answer is lost, a second try would report that there is no such stream.
        await self._request("DELETE", path_of(stream_id), tries=1)

    async def erase_user(self, user: str) -> int:
        """Delete all streams of a user, with a key of the whole tenant; return how many there were.

        Streams that still run are stopped first.

        Raises:
            MidstreamError: The key is not good for this, or the broker cannot be reached.
        """
        path = f"/v1/users/{quote(user, safe='')}"
        return int((await self._object("DELETE", path))["deleted"])

    async def models(self) -> Sequence[dict[str, Any]]:
        """Return the models that this broker can run.

        Raises:
            MidstreamError: The broker refuses, or cannot be reached.
        """
        models: Sequence[dict[str, Any]] = (await self._object("GET", "/v1/models"))["data"]
        return models

    async def operate(self, path: str, method: str = "GET", **options: Any) -> dict[str, Any]:
        """Ask or do what an operator may, below `/v1/operate`: `operate("workers")`. Needs the scope `operate`.

        Args:
            path: The rest of the path; an id in it must be quoted.
            method: The request's method. Only a GET is sent again if the broker does not answer.
            options: `params` of the query, `json` of the body.

        Raises:
            MidstreamError: The broker refuses, or cannot be reached.
        """
        tries = None if method == "GET" else 1
        response = await self._request(method, f"/v1/operate/{path}", tries=tries, **options)
        answer: dict[str, Any] = response.json() if response.content else {}
        return answer

    def _tail(self, path: str, position: Position[Item_co]) -> AsyncGenerator[Item_co, None]:
        tail = Tail(path, position, heartbeat_s=self._heartbeat_s, max_failures=self._max_failures)
        return tail.entries(self._http)

    async def _http(self) -> httpx2.AsyncClient:
        """Return the connections of the running loop, because those of another loop cannot be used in it."""
        loop = asyncio.get_running_loop()
        if loop not in self._opened:
            http = httpx2.AsyncClient(
                base_url=self._base_url,
                auth=self._auth,
                limits=httpx2.Limits(max_connections=None),  # each tail keeps one until its stream ends
            )
            keeper = self._keep(loop, http)
            self._opened[loop] = http, keeper
            await anext(keeper)
        return self._opened[loop][0]

    async def _keep(self, loop: asyncio.AbstractEventLoop, http: httpx2.AsyncClient) -> AsyncGenerator[None, None]:
        """Close the connections when this generator is closed: by `aclose`, or by the loop before it ends."""
        try:
            yield
        finally:
            del self._opened[loop]
            await http.aclose()

    async def _object(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer: dict[str, Any] = (await self._request(method, path, **options)).json()
        return answer

    async def _request(
        self, method: str, path: str, *, tries: int | None = None, patience_s: float = 0.0, **options: Any
    ) -> httpx2.Response:
        timeout = httpx2.Timeout(REPLY_TIMEOUT_S + patience_s, connect=CONNECT_TIMEOUT_S)
        tries = tries or self._tries
        for failures in range(tries):
            try:
                response = await (await self._http()).request(method, path, timeout=timeout, **options)
                await raise_for_problem(response)
            except httpx2.TransportError as error:
                last, wait_s = MidstreamError("unreachable", 0, f"{self._base_url}: {error or repr(error)}"), 0.0
            except RefusedForNowError as refusal:
                last, wait_s = refusal.problem, refusal.retry_after_s
            else:
                return response
            if failures + 1 < tries:
                await asyncio.sleep(max(wait_s, backoff_s(failures, RETRY_MS)))
        raise last


def _entry(row: dict[str, Any]) -> ClientEntry:
    data = {name: value for name, value in row["data"].items() if name != "type"}
    return ClientEntry(row["offset"], row["type"], data)
