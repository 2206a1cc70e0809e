"""Gemini by its Interactions API, whose background mode lets another process go on reading a generation."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import httpx2
from google.genai import Client

from midstream.attempts.delta import Delta, SourceError, Upstream
from midstream.log.entries import Json
from midstream_worker.sources import gemini_input
from midstream_worker.sources.failures import Failures
from midstream_worker.sources.gemini_events import LIVE, READABLE, InteractionReader, makes_calls
from midstream_worker.sources.plain_events import json_events
from midstream_worker.sources.provider_json import Budget, MisfitError, as_object, text
from midstream_worker.sources.reattaching import CUTS, Progress, Reattaching, Verdict
from midstream_worker.sources.replay import Replay
from midstream_worker.sources.source import Prompt
from midstream_worker.sources.upstream_events import events

REATTACH_PAUSES_S: Final = (0.1, 0.5, 1.0, 2.0)
_REFUSED: Final = "provider_bad_request"


@dataclass(slots=True)
class _Progress(Progress):
    """How far one interaction has been read; the cursor of none is 0."""

    broke: bool = False
    """The last connection brought an `error` event."""


class Gemini(Reattaching[_Progress]):
    """Yields an interaction's deltas; a background interaction is read over as many connections as it takes.

    Args:
        client: An SDK client that never retries, and sends by `http`.
        http: The HTTP client, which is closed with the source.
        failures: The provider's table of failures.
        background: Whether generations go on without us, so that they can be re-attached.
        max_output_bytes: Most bytes of one answer that are held back until its end.
        poll_s: Pause between two looks at an interaction that cannot be streamed any more.
        reattach_pauses_s: Pauses before each new connection to an interaction whose last one was cut; a connection that
            brings something starts them over. After the last one the interaction is looked at instead.
    """

    paid = True

    def __init__(
        self,
        client: Client,
        http: httpx2.AsyncClient,
        failures: Failures,
        *,
        background: bool,
        max_output_bytes: int,
        poll_s: float = 1.0,
        reattach_pauses_s: tuple[float, ...] = REATTACH_PAUSES_S,
    ) -> None:
        super().__init__(reattach_pauses_s)
        self.replays = False
        self.resumable = background
        self._interactions: Any = client.aio.interactions
        self._http = http
        self._failures = failures
        self._max_output_bytes = max_output_bytes
        self._poll_s = poll_s

    async def open(self, prompt: Prompt) -> AsyncGenerator[Delta]:
        """Make the one upstream call and yield its deltas."""
        # What must not be stored can neither be generated in the background nor read again.
        resumable = self.resumable and prompt.params.get("store") is not False
        # The SDK refuses to be told not to go on by itself where the provider does so.
        further: Json = {"background": True, "store": True} if resumable else {"automatic_continuation": False}
        # As `extra_body`, what the SDK's types do not know goes to the provider too, who judges it.
        body = gemini_input.body(prompt)
        call = self._interactions.create(model=prompt.model, stream=True, extra_body=body, **further)
        async with aclosing(self._read_to_the_end(call, _Progress(resumable, cursor=0))) as deltas:
            async for delta in deltas:
                yield delta

    async def reattach(self, upstream_id: str, after: int | None, delivered_text: str) -> AsyncGenerator[Delta]:
        """Go on reading a background interaction: it is read from its start, and what was delivered is dropped.

        After a `last_event_id` the deltas of a call in progress would come without its name.
        """
        if not self.resumable:
            raise SourceError("reattach_unsupported", "Only background interactions can be re-attached.")
        progress = _Progress(resumable=True, id=upstream_id, cursor=after or 0, text=[delivered_text] if after else [])
        async with aclosing(self._read_to_the_end(self._again(upstream_id), progress)) as deltas:
            async for delta in deltas:
                yield delta

    async def cancel(self, upstream_id: str) -> None:
        """Stop a background interaction; others stop when their connection closes."""
        if not self.resumable:
            return
        try:
            await self._interactions.with_raw_response.cancel(_quoted(upstream_id))
        except Exception as error:  # noqa: BLE001  `of_exception` raises what is not theirs
            raise self._failures.of_exception(error, started=True) from None

    async def aclose(self) -> None:
        """Close the source's connections."""
        await self._http.aclose()

    async def _judge(self, progress: _Progress, error: SourceError, *, is_last: bool) -> Verdict:
        """Where the interaction goes on, it is looked at after the last connection, and if its stream is refused."""
        if not await self._goes_on(progress, error):
            return "fails"
        return "is_stored" if is_last or error.code == _REFUSED else "is_streamed"

    async def _goes_on(self, progress: _Progress, error: SourceError) -> bool:
        """Tell whether the interaction may have more to read after a failure."""
        if not progress.resumable or not progress.id or progress.over:
            return False
        if progress.broke:  # Google cuts connections with an error event after ten minutes, and goes on generating
            try:
                return text(await self._retrieve(progress.id), "status") in READABLE
            except SourceError as unknown:
                return unknown.code in CUTS
        return error.code in CUTS or error.code == _REFUSED

    async def _read(self, call: Awaitable[Any], progress: _Progress) -> AsyncGenerator[Delta]:
        """Yield what one connection brings."""
        replay = Replay(progress.cursor or 0, "".join(progress.text))
        reader = InteractionReader(self._failures, Budget(self._max_output_bytes))

        def read(event: Json) -> list[Delta]:
            named = bool(reader.id)
            deltas = list(replay.read(reader.read(event)))
            if not progress.resumable:
                return deltas if named or not reader.id else [Upstream(reader.id), *deltas]
            if (deltas and not reader.finished) or (reader.id and not named):
                deltas.append(Upstream(reader.id or progress.id, resumable=True, cursor=replay.position))
            return deltas

        try:
            async with aclosing(events(_stream(call), self._failures, read, json_events)) as incoming:
                async for deltas in incoming:
                    for delta in deltas:
                        yield delta
                    if reader.finished:
                        return
        finally:
            progress.over, progress.broke = reader.finished, reader.broke
        raise self._failures.incomplete()

    async def _poll(self, progress: _Progress) -> AsyncGenerator[Delta]:
        """Wait for the interaction's end and yield what it holds beyond what was delivered."""
        while text(interaction := await self._retrieve(progress.id), "status") in LIVE:
            yield progress.upstream()  # a sign of life
            await asyncio.sleep(self._poll_s)
        # A stored call's arguments are not written as they were streamed, so no position within them is known.
        if makes_calls(interaction) and progress.cursor:
            raise SourceError("reattach_mismatch", "It is unknown which calls of the answer were delivered.")
        reader = InteractionReader(self._failures, Budget(self._max_output_bytes))
        replay = Replay(progress.cursor or 0, "".join(progress.text))
        for delta in replay.read(reader.read_whole(interaction)):
            yield delta

    def _again(self, upstream_id: str) -> Awaitable[Any]:
        """Return the call that streams an interaction from its start."""
        call: Awaitable[Any] = self._interactions.get(_quoted(upstream_id), stream=True)
        return call

    async def _retrieve(self, upstream_id: str) -> Json:
        try:
            answer = await self._interactions.with_raw_response.get(_quoted(upstream_id))
            return as_object(await answer.json(), "interaction")
        except Exception as error:  # noqa: BLE001  `of_exception` raises what is not theirs
            raise self._failures.of_exception(error, started=True) from None


async def _stream(call: Awaitable[Any]) -> Any:
    """Return the SDK's stream; it returns an object where the provider's answer is no stream."""
    answer = await call
    if not hasattr(answer, "response"):
        raise MisfitError("sent something that is not a stream of events")
    return answer


def _quoted(upstream_id: str) -> str:
    """Return an id for a path; it comes from the provider, and the SDK does not quote it."""
    return quote(upstream_id, safe="")
