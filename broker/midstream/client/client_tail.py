"""How the Python client reads one stream over any number of connections. Programs import `client.py`."""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar
from urllib.parse import quote

import httpx2

from midstream.client.sse_parser import EventStreamParser, ServerSentEvent

SILENT_HEARTBEATS: Final = 3
"""A connection that is silent for this many heartbeats is dead."""
CONNECT_TIMEOUT_S: Final = 10.0
RETRY_MS: Final = 1_000
"""The first back-off, unless the server sets another one (`retry:`)."""
MAX_BACKOFF_S: Final = 10.0
MAX_DOUBLINGS: Final = 10
MAX_RETRY_AFTER_S: Final = 60.0
RETRIED_STATUSES: Final = frozenset((408, 425, 429, 500, 502, 503, 504))
NO_CONTENT: Final = 204
OK: Final = range(200, 300)
PROBLEM_MEMBERS: Final = frozenset(("type", "title", "status", "detail", "code"))


class MidstreamError(Exception):
    """The broker refused, or could not be reached.

    Attributes:
        code: The problem's code, such as `stream_not_found`, or `unreachable` if there was no answer.
        status: The HTTP status, or 0 if there was no answer.
        detail: A sentence for people.
        facts: The other members of the problem, such as the available `models` of an `unknown_model`.
        errors: The faults of a `bad_request`: for each the place in the request, and the reason.
    """

    def __init__(self, code: str, status: int, detail: str, facts: Mapping[str, Any] | None = None) -> None:
        self.code = code
        self.status = status
        self.detail = detail
        self.facts = dict(facts or {})
        self.errors = _places(self.facts.get("errors"))
        super().__init__("; ".join((f"{code}: {detail}", *(f"{at}: {why}" for at, why in self.errors))))


class RefusedForNowError(Exception):
    """The broker refused for now; another try may succeed.

    Attributes:
        problem: The error to raise if there is no other try.
        retry_after_s: The wait that the broker asks for, in seconds.
    """

    def __init__(self, problem: MidstreamError, retry_after_s: float) -> None:
        super().__init__(str(problem))
        self.problem = problem
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class ClientEntry:
    """One entry of a stream. A `reset` that is not part of the log has offset 0."""

    offset: int
    type: str
    data: dict[str, Any]


Item_co = TypeVar("Item_co", covariant=True)


class Position(Protocol[Item_co]):
    """What a reader has delivered, and what has to come next."""

    @property
    def cursor(self) -> str:
        """The last event that was delivered, for the broker."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes."""
        ...

    def accept(self, event: ServerSentEvent) -> Item_co | None:
        """Return what to deliver of an event, and go on after it; None if it was delivered before.

        Raises:
            ValueError: The event is not a broker's, or something is missing before it. The caller connects again.
        """
        ...


class StreamPosition:
    """The position in one stream: the offset of the last entry."""

    def __init__(self, after: int) -> None:
        self._offset = after
        self.is_over = False

    @property
    def cursor(self) -> str:
        """The last offset."""
        return str(self._offset)

    def accept(self, event: ServerSentEvent) -> ClientEntry | None:
        """As of `Position`."""
        data = data_of(event)
        offset = int(event.id or 0)
        if event.type == "reset" and offset != self._offset + 1:
            # This is a message to this connection and no entry. Id 0 means that the log is sent again from its start.
            self._offset = min(self._offset, offset)
            return ClientEntry(0, event.type, data)
        if offset <= self._offset:
            return None
        if offset != self._offset + 1:
            raise ValueError(f"entry {offset} came after entry {self._offset}")
        self._offset = offset
        self.is_over = event.type == "end"
        return ClientEntry(offset, event.type, data)


def data_of(event: ServerSentEvent) -> dict[str, Any]:
    """Return the data of an event without its type; raises ValueError where it is no JSON."""
    data: dict[str, Any] = json.loads(event.data)
    data.pop("type", None)
    return data


class Tail(Generic[Item_co]):
    """One reader of events. It goes on after what it has delivered.

    Args:
        path: The path of what has `/events`.
        position: Where it begins, which it moves.
        heartbeat_s: The broker's heartbeat, in seconds.
        max_failures: Connections in a row without anything new before it gives up.
    """

    def __init__(self, path: str, position: Position[Item_co], *, heartbeat_s: float, max_failures: int) -> None:
        self._path = path
        self._position = position
        self._heartbeat_s = heartbeat_s
        self._max_failures = max_failures
        self._retry_ms = RETRY_MS
        self._is_over = False

    async def entries(self, client: Callable[[], Awaitable[httpx2.AsyncClient]]) -> AsyncGenerator[Item_co, None]:
        """Yield what comes until it is over, over as many connections as it takes.

        Args:
            client: Returns the HTTP client of the running loop.

        Raises:
            MidstreamError: The broker refuses for good, or too many connections in a row brought nothing.
        """
        now_s = asyncio.get_running_loop().time
        failures = 0
        while True:
            first_cursor, began_s = self._position.cursor, now_s()
            reason, wait_s = "the connection was cut", 0.0
            try:
                async with aclosing(self._one_connection(await client())) as entries:
                    async for entry in entries:
                        yield entry
            except RefusedForNowError as refusal:
                reason, wait_s = str(refusal), refusal.retry_after_s
            except (httpx2.TransportError, ValueError) as error:  # ValueError: this is not an event stream of a broker
                reason = f"{type(error).__name__}: {error}"
            if self._is_over:
                return
            has_progress = self._position.cursor != first_cursor or now_s() - began_s > self._heartbeat_s
            failures = 0 if has_progress else failures + 1
            if failures >= self._max_failures:
                raise MidstreamError("unreachable", 0, f"{failures} connections in a row brought nothing; {reason}")
            await asyncio.sleep(max(wait_s, backoff_s(failures, self._retry_ms)))

    async def _one_connection(self, http: httpx2.AsyncClient) -> AsyncGenerator[Item_co, None]:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": self._position.cursor}
        request = http.build_request(
            "GET",
            f"{self._path}/events",
            # A proxy that compresses also buffers.
            headers={"Accept-Encoding": "identity", **headers},
            timeout=httpx2.Timeout(SILENT_HEARTBEATS * self._heartbeat_s, connect=CONNECT_TIMEOUT_S),
        )
        response = await http.send(request, stream=True)
        try:
            await raise_for_problem(response)
            self._is_over = response.status_code == NO_CONTENT
            parser = EventStreamParser()
            async for chunk in response.aiter_bytes():
                for event in parser.feed(chunk):
                    if entry := self._position.accept(event):
                        yield entry
                    self._is_over = self._position.is_over
                    if self._is_over:
                        return
                if parser.retry_ms is not None:
                    self._retry_ms = parser.retry_ms
        finally:
            await response.aclose()


async def raise_for_problem(response: httpx2.Response) -> None:
    """Return if the answer is a success; otherwise raise the error that its problem document describes.

    Raises:
        RefusedForNowError: Another try may succeed.
        MidstreamError: Another try would fail as well.
    """
    if response.status_code in OK:
        return
    await response.aread()
    try:
        document = json.loads(response.content)
        facts = {name: value for name, value in document.items() if name not in PROBLEM_MEMBERS}
        problem = MidstreamError(str(document["code"]), response.status_code, str(document["detail"]), facts)
    except (ValueError, KeyError, TypeError, AttributeError):  # a proxy's page
        problem = MidstreamError(f"http_{response.status_code}", response.status_code, response.reason_phrase)
    if response.status_code not in RETRIED_STATUSES:
        raise problem
    retry_after = response.headers.get("Retry-After", "")
    retry_after_s = float(retry_after) if retry_after.isdecimal() else 0.0
    raise RefusedForNowError(problem, min(retry_after_s, MAX_RETRY_AFTER_S))


def _places(errors: Any) -> tuple[tuple[str, str], ...]:
    """Return the `errors` of a problem document as pairs. Anything that a broker does not send is left out."""
    rows = errors if isinstance(errors, list) else []
    return tuple((str(row.get("at", "")), str(row.get("message", ""))) for row in rows if isinstance(row, dict))


def path_of(stream_id: str) -> str:
    """Return the path of a stream; an id cannot lead to another path."""
    return f"/v1/streams/{quote(stream_id, safe='')}"


def backoff_s(failures: int, first_ms: int) -> float:
    """Return how long to wait: exponential, with jitter so that many clients do not come back at the same moment."""
    longest_s = min(MAX_BACKOFF_S, first_ms / 1_000 * 2.0 ** min(failures, MAX_DOUBLINGS))
    return longest_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads clients, keeps no secret
