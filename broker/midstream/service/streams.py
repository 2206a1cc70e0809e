"""What can be done with streams, the same from every door: start, show, list, read, wait, cancel, delete.

A tenant sees its own streams only; another tenant's raise `StreamAbsent` like one that never was (I7).
"""

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import orjson

from midstream.faces.first_word import FirstWordFace
from midstream.faces.silent import SilentFace
from midstream.hub.follower import Follower
from midstream.hub.tail import Tail
from midstream.lifecycle.ending import end_entry
from midstream.lifecycle.verdict import look_again_ms
from midstream.log.entries import CANCELLED, Stored, decode, encode
from midstream.log.errors import LogUnavailable, StreamAbsent, StreamSealed
from midstream.log.keys import idempotent_id, new_id
from midstream.log.state import State
from midstream.requests.catalogue import resolve
from midstream.requests.request import GenerationRequest, IdleTimeoutError, UnwritableRequestError
from midstream.service.listing import summary
from midstream.service.services import House

logger = logging.getLogger(__name__)

FIRST_WORD: Final = FirstWordFace()
SILENT: Final = SilentFace()
READ_PAGE: Final = 1_000


async def start(
    house: House,
    tenant: str,
    request: GenerationRequest,
    idempotency_key: str | None,
    *,
    stream_id: str | None = None,
    origin: dict[str, Any] | None = None,
) -> tuple[str, bool]:
    """Start a generation, or find the one that the same start began; return its id and whether it is new.

    `origin` is what the face that starts it has to remember. `stream_id` is used where there is no key.

    Raises:
        UnknownModel, MissingProviderKey: No such model here.
        UnwritableRequestError: It cannot be stored.
        IdleTimeoutError: It would wait too long.
        IdempotencyMismatch, StreamDeleted: See PROTOCOL: Create/Idempotent.
        LogUnavailable: Redis did not answer. The same start with the same key is safe.
    """
    settings = house.settings
    model = resolve(request.model, settings)
    if (request.idle_timeout_s or 0) > settings.longest_idle_s:
        raise IdleTimeoutError(f"At most {settings.longest_idle_s:g} s (MIDSTREAM_MAX_IDLE_TIMEOUT_S).")
    body, noted, digest = _written(request, origin)
    stream_id = (stream_id or new_id()) if idempotency_key is None else idempotent_id(tenant, idempotency_key)
    ttl_s = settings.retention_s if request.ttl_s is None else request.ttl_s
    # `reattach` falls back to `interrupt` where the upstream cannot be re-attached: that is what `auto` means.
    policy = "reattach" if request.on_worker_loss == "auto" else request.on_worker_loss
    created_ms = await house.log.create(
        stream_id,
        digest,
        {
            "tenant": tenant,
            "model": model,
            "policy": policy,
            "thread": request.thread or "",
            "metadata": orjson.dumps(request.metadata),
            "ttl_s": ttl_s,
            "request": body,
            "origin": noted,
        },
        look_again_ms(settings),
    )
    if created_ms is None:
        found = await house.log.state(stream_id)
        if found is not None and found.ended:
            await house.registry.unwatch(stream_id)  # nobody needs to look at it again
        return stream_id, False
    try:
        await asyncio.gather(
            house.slips.write(stream_id, 0, new=True),
            house.registry.add(tenant, stream_id, created_ms, keep_s=max(ttl_s, settings.retention_s)),
        )
    except LogUnavailable:
        # The stream stands, so the start has succeeded: the reaper writes the slip.
        logger.warning("stream %s was created but its slip was not written yet", stream_id)
    return stream_id, True


def _written(request: GenerationRequest, origin: dict[str, Any] | None) -> tuple[bytes, bytes, str]:
    """Return a request and its origin as they are stored, and the digest that equal starts have in common.

    The order of keys is kept: models write an answer in the order of its schema's properties. Only to the digest
    it is nothing.
    """
    asked = request.model_dump(mode="json", exclude_none=True)
    try:
        body, noted = orjson.dumps(asked), orjson.dumps(origin) if origin else b""
        in_one_order = orjson.dumps((asked, origin), option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONEncodeError, ValueError) as error:
        raise UnwritableRequestError("The request holds text that is no Unicode.") from error
    return body, noted, hashlib.sha256(in_one_order).hexdigest()


async def find(house: House, tenant: str, stream_id: str) -> State:
    """Return the state of a tenant's stream.

    Raises:
        StreamAbsent: There is none, or it is another tenant's.
    """
    state = await house.log.state(stream_id)
    if state is None or state.tenant != tenant:
        raise StreamAbsent(stream_id)
    return state


@contextlib.asynccontextmanager
async def follow(house: House, tenant: str, stream_id: str, after: int = 0) -> AsyncIterator[Follower]:
    """Hold the hub's follower of a tenant's stream, for a reader that has read up to `after`; raises as `find`."""
    async with house.hub.follow(stream_id, after) as follower:
        if follower.state.tenant != tenant:
            raise StreamAbsent(stream_id)
        yield follower


async def show(house: House, tenant: str, stream_id: str, *, output: bool = False) -> dict[str, Any]:
    """Return all that there is to know about a stream; with `output`, what it has generated too."""
    state = await find(house, tenant, stream_id)
    request = orjson.loads(await house.log.request(stream_id))
    shown = summary(stream_id, state)
    shown |= {
        "messages": GenerationRequest.model_validate(request).as_messages(),
        "metadata": orjson.loads(state.metadata),
        "on_worker_loss": state.policy,
        "paid_calls": state.paid,
        "first": state.first,
        "lease_until_ms": state.lease_until_ms or None,
        "upstream_id": state.upstream_id or None,
        "tails": house.hub.tails_of(stream_id),
    }
    end: dict[str, Any] = {}
    if state.ended:
        _, last = await house.log.read(stream_id, state.tail - 1, 1)
        end = decode(last[0].content, last[0].offset, last[0].epoch).data if last else {}
    shown |= {name: end.get(name) for name in ("finish_reason", "error", "usage", "timings")}
    if output:
        shown["output"] = await collect(house, stream_id)
    return shown


async def collect(house: House, stream_id: str) -> dict[str, Any]:
    """Return the whole generation so far: text, reasoning, tool calls; a `reset` entry empties it."""
    text: list[str] = []
    reasoning: list[str] = []
    tool_calls: list[dict[str, Any]] = []
    after = 0
    while True:
        _, page = await house.log.read(stream_id, after, READ_PAGE)
        for row in page:
            entry = decode(row.content, row.offset, row.epoch)
            match entry.type:
                case "text":
                    text.append(entry.text)
                case "reasoning":
                    reasoning.append(entry.text)
                case "tool_call":
                    tool_calls.append(entry.data)
                case "reset":
                    text, reasoning, tool_calls = [], [], []
                case _:
                    pass
        if len(page) < READ_PAGE:
            return {"text": "".join(text), "reasoning": "".join(reasoning), "tool_calls": tool_calls}
        after = page[-1].offset


async def page(house: House, tenant: str, stream_id: str, after: int, limit: int) -> tuple[State, list[Stored]]:
    """Return a stream's state and a page of its entries, at one moment; raises as `find`."""
    state, rows = await house.log.read(stream_id, after, limit)
    if state is None or state.tenant != tenant:
        raise StreamAbsent(stream_id)
    return state, rows


async def cancel(house: House, tenant: str, stream_id: str) -> State:
    """Ask for a stop and return the state behind it; nothing happens to a stream that has ended."""
    state = await find(house, tenant, stream_id)
    end = end_entry(CANCELLED, state=state, now_ms=time.time_ns() // 1_000_000)
    try:
        sealed = await house.log.cancel(stream_id, encode(end), CANCELLED, state.ttl_s)
    except StreamSealed:
        sealed = False
    if sealed:
        await house.registry.unwatch(stream_id)
    return await find(house, tenant, stream_id)


async def delete(house: House, tenant: str, stream_id: str) -> None:
    """Forget a stream; one that still runs is cancelled first, so that nobody pays for what nobody sees."""
    await cancel(house, tenant, stream_id)
    await house.log.delete(stream_id, house.settings.tombstone_s)
    await house.registry.unwatch(stream_id)
    await house.registry.drop(tenant, [stream_id])


async def ended(house: House, tenant: str, stream_id: str, wait_s: float) -> bool:
    """Wait until the stream has ended, for at most `wait_s`; return whether it has."""
    async with follow(house, tenant, stream_id) as follower:
        return await _noticed(follower.join(SILENT, follower.tail), wait_s)


async def spoken(house: House, tenant: str, stream_id: str, wait_s: float) -> bool:
    """Wait until the source has said something or the stream has ended, for at most `wait_s`; return whether so."""
    async with follow(house, tenant, stream_id) as follower:
        return await _noticed(follower.join(FIRST_WORD, 0), wait_s)


async def _noticed(tail: Tail, wait_s: float) -> bool:
    watch = _Watch()
    try:
        tail.begin(watch)
        async with asyncio.timeout(wait_s):
            await watch.noticed.wait()
    except TimeoutError:
        return False
    finally:
        tail.close()
    return True


class _Watch:
    """A sink that only notices that something was said, or that nothing more comes."""

    ready = True

    def __init__(self) -> None:
        self.noticed = asyncio.Event()

    def write(self, chunk: bytes) -> None:  # noqa: ARG002
        """Notice."""
        self.noticed.set()

    def close(self) -> None:
        """Notice."""
        self.noticed.set()
