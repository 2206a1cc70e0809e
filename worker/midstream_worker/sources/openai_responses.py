"""OpenAI by its Responses API, whose background mode lets another process go on reading a generation."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import quote

import openai

from midstream.attempts.delta import Delta, SourceError, Text
from midstream.log.entries import Json
from midstream_worker.sources import responses_input
from midstream_worker.sources.failures import Failures
from midstream_worker.sources.plain_events import plain_openai, reading
from midstream_worker.sources.provider_json import Budget, as_object, text
from midstream_worker.sources.reattaching import CUTS, Progress, Reattaching, Verdict
from midstream_worker.sources.responses_events import (
    ResponseReader,
    content,
    ending,
    failed,
    makes_calls,
    refusal,
)
from midstream_worker.sources.source import Prompt
from midstream_worker.sources.upstream_events import events

_TOO_OLD = "no longer be streamed"  # part of the sentence by which OpenAI refuses to stream an old response
_LIVE = ("queued", "in_progress")

REATTACH_PAUSES_S: Final = (0.1, 0.5, 1.0, 2.0, 5.0)


class OpenAIResponses(Reattaching[Progress]):
    """Yields a response's deltas; a background response is read over as many connections as it takes.

    Args:
        client: An SDK client that never retries.
        failures: The provider's table of failures.
        background: Whether generations go on without us, so that they can be re-attached.
        max_output_bytes: Most bytes of one answer that are held back until its end.
        poll_s: Pause between two polls of a response that is too old to be streamed.
        reattach_pauses_s: Pauses before each new connection to a response whose last one was cut; a connection that
            brings something starts them over.
    """

    paid = True

    def __init__(
        self,
        client: openai.AsyncOpenAI,
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
        self._client = client
        self._failures = failures
        self._max_output_bytes = max_output_bytes
        self._poll_s = poll_s
        self._iterate = reading("openai", client, plain_openai)

    async def open(self, prompt: Prompt) -> AsyncGenerator[Delta]:
        """Make the one upstream call and yield its deltas."""
        # A response that must not be stored can neither be generated in the background nor read again.
        resumable = self.resumable and prompt.params.get("store") is not False
        body = responses_input.body(prompt, background=resumable) | {"stream": True}
        call = self._client.post(
            "/responses", body=body, cast_to=object, stream=True, stream_cls=openai.AsyncStream[object]
        )
        async with aclosing(self._read_to_the_end(call, Progress(resumable))) as deltas:
            async for delta in deltas:
                yield delta

    async def reattach(self, upstream_id: str, after: int | None, delivered_text: str) -> AsyncGenerator[Delta]:
        """Go on reading a background response: it is read from its start, and what was delivered is dropped.

        With `starting_after`, the events of a tool call in progress would come without its name, and a character
        that was cut in half without its first half.
        """
        if not self.resumable:
            raise SourceError("reattach_unsupported", "Only background responses can be re-attached.")
        progress = Progress(resumable=True, id=upstream_id, cursor=after, text=[delivered_text])
        async with aclosing(self._read_to_the_end(self._again(upstream_id), progress)) as deltas:
            async for delta in deltas:
                yield delta

    async def cancel(self, upstream_id: str) -> None:
        """Stop a background response; others stop when their connection closes."""
        if not self.resumable:
            return
        try:
            await self._client.post(f"{_path(upstream_id)}/cancel", cast_to=object)
        except openai.APIError as error:
            raise self._failures.of_exception(error, started=True) from None

    async def aclose(self) -> None:
        """Close the source's connections."""
        await self._client.close()

    async def _judge(self, progress: Progress, error: SourceError, *, is_last: bool) -> Verdict:
        """A response that is always cut is given up."""
        goes_on = progress.resumable and progress.id and not progress.over and error.code in CUTS
        return "is_streamed" if goes_on and not is_last else "fails"

    async def _read(self, call: Any, progress: Progress) -> AsyncGenerator[Delta]:
        """Yield what one connection brings."""
        after = -1 if progress.cursor is None else progress.cursor
        budget = Budget(self._max_output_bytes)
        reader = ResponseReader(self._failures, budget, after=after, resumable=progress.resumable)
        try:
            async with aclosing(events(call, self._failures, reader.read, self._iterate)) as incoming:
                async for deltas in incoming:
                    for delta in deltas:
                        yield delta
                    if reader.finished:
                        return
        except SourceError as refused:
            if _TOO_OLD not in refused.message:
                progress.over = reader.finished
                raise
        else:
            raise self._failures.incomplete()
        async with aclosing(self._poll(progress)) as deltas_of_output:
            async for delta in deltas_of_output:
                yield delta

    async def _poll(self, progress: Progress) -> AsyncGenerator[Delta]:
        """Wait for the response's end and yield what its output has beyond the delivered text."""
        while text(response := await self._retrieve(progress.id), "status") in _LIVE:
            yield progress.upstream()  # a sign of life
            await asyncio.sleep(self._poll_s)
        progress.over = True
        if response["status"] not in ("completed", "incomplete"):
            raise failed(response, self._failures)
        parts = content(response)
        whole = "".join(text(part, "text") for part in parts if part.get("type") == "output_text")
        delivered = "".join(progress.text)
        # It is unknown which of its tool calls were delivered, and none may be made twice.
        if makes_calls(response) or not whole.startswith(delivered):
            raise SourceError("reattach_mismatch", "The answer at the provider does not go on from what was delivered.")
        if missing := whole.removeprefix(delivered):
            yield Text(missing)
        refused = [text(part, "refusal") for part in parts if part.get("type") == "refusal"]
        for words in refused:
            yield refusal(words)
        for delta in ending(response, refused=bool(refused), called=False):
            yield delta

    def _again(self, upstream_id: str) -> Any:
        """Return the call that streams a response from its start."""
        stream: Any = openai.AsyncStream[object]
        options: Any = {"params": {"stream": "true"}}
        return self._client.get(_path(upstream_id), options=options, cast_to=object, stream=True, stream_cls=stream)

    async def _retrieve(self, upstream_id: str) -> Json:
        try:
            return as_object(await self._client.get(_path(upstream_id), cast_to=object), "response")
        except openai.APIError as error:
            raise self._failures.of_exception(error, started=True) from None


def _path(upstream_id: str) -> str:
    """Return a response's path; the id comes from the provider, so it is quoted."""
    return f"/responses/{quote(upstream_id, safe='')}"
