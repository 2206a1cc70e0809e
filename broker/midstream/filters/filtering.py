"""What is between a source and the writer of its attempt: the filters, one after the other (PROTOCOL: Filter/Order)."""

import asyncio
from collections.abc import Sequence
from typing import Final

from midstream.attempts.attempt import Attempt
from midstream.attempts.delta import Delta, Finish, Other
from midstream.attempts.writer import Writer
from midstream.filters.filter import REASON_CHARS, Blocked, FilterContext, NamedFilter
from midstream.filters.filter_stage import FilterStage
from midstream.filters.json_answer import JsonAnswer
from midstream.filters.whole_words import WholeWords
from midstream.journal.plain_text import brief
from midstream.log.entries import DATA, Json
from midstream.log.keys import id_of, tenant_of
from midstream.requests.request import GenerationRequest
from midstream.requests.structured import asks_for_json
from midstream.settings import Settings

CONTENT_FILTER: Final = "content_filter"
"""The finish reason of an answer that a filter has stopped, and the kind of the entry that says why."""


class Filtering:
    """Takes an attempt's deltas as its writer does, and hands it what the filters make of them.

    Attributes:
        blocked_by: The filter that has stopped the answer; empty: none has. What comes after that is dropped.
    """

    def __init__(
        self, writer: Writer, stages: Sequence[FilterStage], words: WholeWords | None, answer: JsonAnswer | None
    ) -> None:
        self.blocked_by = ""
        self._stages = stages
        self._words = words
        self._answer = answer
        self._lock = asyncio.Lock()  # tasks of one producer write at the same time, and a filter may wait
        self._put = writer.put if words is None else words.put

    def go_on(self, text: str) -> None:
        """Begin after the text of earlier attempts, as it is on the log."""
        for stage in self._stages:
            stage.context.add(text)
        if self._answer is not None:
            self._answer.add(text)

    async def put(self, delta: Delta) -> None:
        """Take a delta.

        Raises:
            SourceError: A filter failed, or as `Writer.put`.
        """
        async with self._lock:
            if self.blocked_by:
                return
            for each in await self._through(delta):
                if self._answer is not None:
                    self._answer.take(each)
                await self._put(each)

    async def close(self, *, writes: bool) -> None:
        """Let no more through; with `writes`, the writer is given the part of a word that waits for its rest.

        What a filter holds back is dropped: nobody has decided that it may pass.
        """
        if self._words is not None:
            await self._words.close(writes=writes)

    @property
    def end_fields(self) -> Json:
        """What the end of a completed stream says besides."""
        return {} if self._answer is None else self._answer.fields

    async def _through(self, delta: Delta) -> list[Delta]:
        deltas = [delta]
        for stage in self._stages:
            news: list[Delta] = []
            try:
                for each in deltas:
                    news += await stage.take(each)
            except Blocked as blocked:
                self.blocked_by = stage.name
                reason = brief(blocked.reason, REASON_CHARS)
                why = {"kind": CONTENT_FILTER, "filter": stage.name, "reason": reason}
                news += [Other(DATA, why), Finish(CONTENT_FILTER)]
            deltas = news
        return deltas


def filtering_of(
    writer: Writer,
    filters: Sequence[NamedFilter],
    request: GenerationRequest,
    attempt: Attempt,
    settings: Settings,
) -> Filtering | None:
    """Return what an attempt's deltas go through; None: they go to the writer as they are."""
    mode = request.chunking.mode
    wants_json = asks_for_json(request.params)
    if not (filters or mode or wants_json):
        return None
    name = attempt.stream_id
    stages = [
        FilterStage(
            each,
            FilterContext(id_of(name), tenant_of(name), attempt.state.model, request.metadata),
            settings.filter_hold_bytes,
            settings.filter_timeout_s,
        )
        for each in filters
    ]
    words = WholeWords(writer, mode, settings.chunk_hold_bytes, settings.chunk_hold_ms / 1000) if mode else None
    return Filtering(writer, stages, words, JsonAnswer(settings.structured_bytes) if wants_json else None)
