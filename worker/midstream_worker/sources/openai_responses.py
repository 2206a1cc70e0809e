"""OpenAI by its Responses API: the one upstream that another process can go on reading (background mode)."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import openai

from midstream_worker.sources import responses_input
from midstream_worker.sources.deltas import Delta, SourceError, Text, Upstream
from midstream_worker.sources.failures import Failures
from midstream_worker.sources.responses_events import ResponseReader, ending, failed, refusal
from midstream_worker.sources.source import Prompt
from midstream_worker.sources.upstream_events import events

_TOO_OLD = "no longer be streamed"  # of the sentence by which OpenAI refuses to stream a response of some age
_LIVE = ("queued", "in_progress")


class OpenAIResponses:
    """Yields a response's deltas.

    Args:
        client: An SDK client that never retries.
        failures: The provider's table of failures.
        background: Whether generations go on without us, so that they can be re-attached.
        poll_s: Pause between two looks at a response that is too old to be streamed.
    """

    paid = True

    def __init__(
        self, client: openai.AsyncOpenAI, failures: Failures, *, background: bool, poll_s: float = 1.0
    ) -> None:
        self.resumable = background
        self._client = client
        self._failures = failures
        self._poll_s = poll_s

    async def open(self, prompt: Prompt) -> AsyncGenerator[Delta]:
        """Make the one upstream call and yield its deltas."""
        # What must not be stored cannot be generated in the background, nor read again.
        resumable = self.resumable and prompt.params.get("store") is not False
        body = responses_input.body(prompt, background=resumable)
        call = self._client.responses.create(stream=True, extra_body=body)
        async with aclosing(self._read(call, -1, resumable=resumable)) as deltas:
            async for delta in deltas:
                yield delta

    async def reattach(self, upstream_id: str, after: int | None, delivered_text: str) -> AsyncGenerator[Delta]:
        """Go on reading a background response; it is read from its start, and what was delivered is dropped.

        With `starting_after` the events of a tool call in progress would come without its name, and a character
        cut in half without its first half.
        """
        self._require_resumable()
        call = self._client.responses.retrieve(upstream_id, stream=True)
        try:
            async with aclosing(self._read(call, -1 if after is None else after, resumable=True)) as deltas:
                async for delta in deltas:
                    yield delta
        except SourceError as refused:
            if _TOO_OLD not in refused.message:
                raise
            async with aclosing(self._poll(upstream_id, after, delivered_text)) as deltas:
                async for delta in deltas:
                    yield delta

    async def cancel(self, upstream_id: str) -> None:
        """Stop a background response; others stop when their connection closes."""
        if not self.resumable:
            return
        try:
            await self._client.responses.cancel(upstream_id)
        except openai.APIError as error:
            raise self._failures.of_exception(error, started=True) from None

    async def aclose(self) -> None:
        """Close the source's connections."""
        await self._client.close()

    async def _read(self, call: Any, after: int, *, resumable: bool) -> AsyncGenerator[Delta]:
        """Yield the deltas of the events behind `after`, each event's position behind its deltas."""
        reader = ResponseReader(self._failures)
        upstream_id = ""
        async with aclosing(events(call, self._failures)) as incoming:
            async for event in incoming:
                position = event.sequence_number
                if event.type == "response.created":
                    upstream_id = event.response.id
                    yield Upstream(upstream_id, resumable, max(position, after))
                deltas = list(reader.read(event))
                if position > after:
                    for delta in deltas:
                        yield delta
                if reader.finished:
                    return
                if deltas and position > after and resumable:
                    yield Upstream(upstream_id, resumable=True, cursor=position)
        raise self._failures.incomplete()

    async def _poll(self, upstream_id: str, after: int | None, delivered_text: str) -> AsyncGenerator[Delta]:
        """Wait for the response's end and yield what its output has beyond the delivered text."""
        while (response := await self._retrieve(upstream_id)).status in _LIVE:
            yield Upstream(upstream_id, resumable=True, cursor=after)  # a sign of life
            await asyncio.sleep(self._poll_s)
        if response.status not in ("completed", "incomplete"):
            raise failed(response, self._failures)
        parts = [part for item in response.output if item.type == "message" for part in item.content]
        text = "".join(part.text for part in parts if part.type == "output_text")
        # Which of its tool calls were delivered is not known, and none may be made twice.
        called = any(item.type == "function_call" for item in response.output)
        if called or not text.startswith(delivered_text):
            raise SourceError("reattach_mismatch", "The answer at the provider does not go on from what was delivered.")
        if missing := text.removeprefix(delivered_text):
            yield Text(missing)
        refused = [part.refusal for part in parts if part.type == "refusal"]
        for said in refused:
            yield refusal(said)
        for delta in ending(response, refused=bool(refused), called=False):
            yield delta

    async def _retrieve(self, upstream_id: str) -> Any:
        try:
            return await self._client.responses.retrieve(upstream_id)
        except openai.APIError as error:
            raise self._failures.of_exception(error, started=True) from None

    def _require_resumable(self) -> None:
        if not self.resumable:
            raise SourceError("reattach_unsupported", "Only background responses can be re-attached.")
