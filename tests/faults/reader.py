"""A plain client that resumes by Last-Event-ID and writes down all that it is sent, duplicates included."""

import asyncio
import contextlib
import random
import time
from collections.abc import Mapping
from typing import Any

import httpx2
import orjson

from midstream.client.sse_parser import EventStreamParser, ServerSentEvent
from midstream.log.entries import Entry, fields_for_clients
from tests.sse import Event

AGAIN_S = 0.05
MOST_FLAPS = 40
SILENT_S = 5.0
GONE = (404, 410)


class Reader:
    """Reads one stream until its end, from whichever broker answers.

    Attributes:
        events: All events, in order of arrival.
        over: How it ended: `end`, `204`, `404`, `410`; empty while it has not.
        longest_pause_ms: The longest time between two events.
        connections: How often it connected.
    """

    def __init__(
        self,
        http: httpx2.AsyncClient,
        urls: list[str],
        stream_id: str,
        headers: Mapping[str, str] | None = None,
        *,
        flaps: random.Random | None,
    ) -> None:
        self.events: list[Event] = []
        self.over = ""
        self.longest_pause_ms = 0.0
        self.connections = 0
        self._http = http
        self._urls = urls
        self._stream_id = stream_id
        self._headers = headers or {}
        self._flaps = flaps
        self._cursor = 0
        self._last_news_s = time.monotonic()

    async def run(self) -> None:
        """Read until the end, over as many connections as it takes."""
        while not self.over:
            with contextlib.suppress(httpx2.TransportError):  # cut: come back
                await self._connect()
            if not self.over:
                await asyncio.sleep(AGAIN_S)

    async def _connect(self) -> None:
        url = f"{self._urls[self.connections % len(self._urls)]}/v1/streams/{self._stream_id}/events"
        self.connections += 1
        left = self._flaps.randint(1, 8) if self._flaps and self.connections <= MOST_FLAPS else -1
        headers = {"Last-Event-ID": str(self._cursor), **self._headers}
        async with self._http.stream("GET", url, headers=headers, timeout=SILENT_S) as answer:
            if answer.status_code == 204 or answer.status_code in GONE:
                self.over = str(answer.status_code)
            if answer.status_code != 200:
                return
            parser = EventStreamParser()
            async for chunk in answer.aiter_bytes():
                for event in parser.feed(chunk):
                    self._take(event)
                    left -= 1
                    if self.over or left == 0:
                        return

    def _take(self, sent: ServerSentEvent) -> None:
        event = Event(int(sent.id or 0), sent.type, orjson.loads(sent.data))
        now_s = time.monotonic()
        if self.events:
            self.longest_pause_ms = max(self.longest_pause_ms, (now_s - self._last_news_s) * 1000)
        self._last_news_s = now_s
        self.events.append(event)
        self._cursor = event.id
        if event.type == "end":
            self.over = "end"

    @property
    def resets(self) -> list[str]:
        """The reasons of the resets that it was told on the wire (not those in the log)."""
        return [event.data["reason"] for event in self.events if _is_wire_reset(event)]

    def problems(self, log: list[Entry] | None) -> list[str]:
        """Return what is wrong with what it got, against the log as it stands at the end (I1, I2, I5), if it stands."""
        spans: list[list[Event]] = [[]]
        for event in self.events:
            if _is_wire_reset(event):
                spans.append([])
            else:
                spans[-1].append(event)
        faults = []
        for span in spans:
            offsets = [event.id for event in span]
            if offsets != list(range(1, len(offsets) + 1)):
                faults.append(f"I2 once: offsets came as {_runs(offsets)}")
        if log is None:
            return faults
        got = [(event.id, event.type, _data(event)) for event in spans[-1]]
        logged = [(entry.offset, entry.type, fields_for_clients(entry)) for entry in log]
        if got != logged[: len(got)]:
            at = next(
                i for i, pair in enumerate(zip(got, [*logged, *[None] * len(got)], strict=False)) if pair[0] != pair[1]
            )
            faults.append(f"I5 same bytes: got {got[at]}, the log has {logged[at] if at < len(logged) else None}")
        elif len(got) < len(logged):
            faults.append(f"I5 same bytes: stopped at {len(got)} of {len(logged)} ({self.over or 'never ended'})")
        return faults


def _is_wire_reset(event: Event) -> bool:
    return event.type == "reset" and event.id == 0


def _data(event: Event) -> dict[str, Any]:
    return {name: value for name, value in event.data.items() if name != "type"}


def _runs(offsets: list[int]) -> str:
    """Return offsets in short: 1-7 5-9."""
    runs: list[list[int]] = []
    for offset in offsets:
        if runs and offset == runs[-1][1] + 1:
            runs[-1][1] = offset
        else:
            runs.append([offset, offset])
    return " ".join(f"{first}-{last}" for first, last in runs)
