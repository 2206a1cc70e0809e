"""Sends a signed request to the receivers of a tenant's ends (PROTOCOL: Ends/Webhook)."""

import asyncio
import contextlib
import logging
import ssl
import time
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
import orjson
from redis.asyncio import Redis

from midstream.ends.deliverer import Deliverer, NotTakenError, UnwantedError
from midstream.ends.ended_stream import EndedStream, ended_stream, whole_answer
from midstream.ends.webhook_file import WebhooksFileError, webhooks_of
from midstream.file_watch import FileWatch
from midstream.log.log import Log
from midstream.log.outbox import Outbox, Outlet, Taken
from midstream.settings import Settings

logger = logging.getLogger(__name__)

KIND: Final = "webhook"
TYPE: Final = "stream.ended"
GONE: Final = 410
MOST_READ_BYTES: Final = 65_536
"""Of a receiver's answer no more than this is read: it is not looked at, and its end lets the connection live."""
BODY_S: Final = 1.0
"""How long the rest of an answer is waited for. Its status is known by then."""
MOST_AFTER_CHARS: Final = 6


class Webhooks:
    """The webhooks of one broker process; without a file there are none.

    Attributes:
        outbox: The outbox of all outlets, also of those that are none of this process'.

    Raises:
        WebhooksFileError: The file cannot be used.
    """

    def __init__(self, redis: Redis, log: Log, settings: Settings) -> None:
        self._settings = settings
        self._log = log
        self._path = settings.webhooks_file
        self._watch = FileWatch(self._path, self._read_again)
        self._webhooks = {} if self._path is None else webhooks_of(self._path)
        self._client: httpx2.AsyncClient | None = None
        self.outbox = Outbox(redis, settings.key_prefix, settings.ends_keep_ms, settings.outbox_ends)
        self._deliverer = Deliverer(
            self.outbox,
            settings,
            KIND,
            self._outlets,
            self._deliver,
            settings.webhook_timeout_s,
        )

    async def start(self) -> None:
        """Have ends noted and sent from now on; raises as `Deliverer.start`."""
        if self._path is not None:
            # No redirects, and no proxy that the environment names: a request goes where the operator's file says.
            self._client = httpx2.AsyncClient(
                follow_redirects=False,
                trust_env=False,
                timeout=self._settings.webhook_timeout_s,
                verify=await asyncio.to_thread(ssl.create_default_context),
            )
            self._watch.start()
        await self._deliverer.start()

    async def stop(self) -> None:
        """Send nothing any more."""
        await self._watch.stop()
        await self._deliverer.stop()
        if self._client is not None:
            await self._client.aclose()

    def readings(self) -> dict[tuple[str, ...], float]:
        """Return what waits, as `Deliverer.readings`."""
        return self._deliverer.readings() if self._path is not None else {}

    def host_of(self, outlet: str) -> str | None:
        """Return the host of a receiver; None: the outlet is none of this process'."""
        webhook = self._webhooks.get(outlet)
        return urlsplit(webhook.url).hostname if webhook is not None else None

    def _outlets(self) -> list[Outlet]:
        return [each.outlet for each in self._webhooks.values()]

    async def _deliver(self, taken: Taken) -> None:
        webhook = self._webhooks.get(taken.outlet)
        if webhook is None or self._client is None:
            raise NotTakenError("its receiver has just been taken away")
        text = await self._text(taken.stream_id) if webhook.text else None
        stream = ended_stream(taken.stream_id, taken.facts)
        body = payload(stream, with_text=webhook.text, text=text)
        headers = webhook.headers(stream.id, int(time.time()), body) | {
            "content-type": "application/json",
            "user-agent": "midstream",
            "accept-encoding": "identity",
        }
        try:
            async with self._client.stream("POST", webhook.url, content=body, headers=headers) as answer:
                status, after_s = answer.status_code, _after_s(answer)
                await _drop_body(answer)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise NotTakenError(type(error).__name__) from None
        if status == GONE:
            raise UnwantedError
        if not httpx2.codes.is_success(status):
            raise NotTakenError(f"status {status}", after_s)

    async def _text(self, name: str) -> str | None:
        answer = await whole_answer(self._log, name)
        if answer is None or len(answer.text.encode()) > self._settings.webhook_text_bytes:
            return None
        return answer.text

    def _read_again(self) -> None:
        assert self._path is not None  # noqa: S101 - what is not there does not change
        try:
            self._webhooks = webhooks_of(self._path)
        except WebhooksFileError as error:
            logger.error("the webhooks stay as they were: %s", error)  # noqa: TRY400
            return
        logger.info("the webhooks file was read again")
        self._deliverer.look()


def payload(stream: EndedStream, *, with_text: bool, text: str | None) -> bytes:
    """Return the body of a request; it holds what a client sent, but of the answer only the text, where asked for."""
    data: dict[str, Any] = {
        "id": stream.id,
        "tenant": stream.tenant,
        "user": stream.user or None,
        "thread": stream.thread or None,
        "metadata": stream.metadata,
        "model": stream.model,
        "outcome": stream.outcome,
        "code": stream.code or None,
        "finish_reason": stream.finish_reason,
        "usage": stream.usage,
        "cost": stream.cost,
        "timings": stream.timings,
        "created_ms": stream.created_ms,
        "ended_ms": stream.ended_ms,
    }
    if with_text:
        data["text"] = text
    ended = datetime.fromtimestamp(stream.ended_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return orjson.dumps({"type": TYPE, "timestamp": ended.replace("+00:00", "Z"), "data": data})


def _after_s(answer: httpx2.Response) -> float:
    """Return how long a receiver asks us to wait; 0: it does not say, or says it by a date."""
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) <= MOST_AFTER_CHARS else 0.0


async def _drop_body(answer: httpx2.Response) -> None:
    read_bytes = 0
    with contextlib.suppress(httpx2.HTTPError, TimeoutError):
        async with asyncio.timeout(BODY_S):
            async for chunk in answer.aiter_raw():
                read_bytes += len(chunk)
                if read_bytes > MOST_READ_BYTES:
                    return
