"""What is between a source and the writer of its attempt: the filters, one after the other (PROTOCOL: Filter/Order)."""

from collections.abc import Sequence
from typing import Final

from midstream.attempts.attempt import Attempt
from midstream.attempts.delta import Delta, Finish, Other
from midstream.attempts.writer import Writer
from midstream.filters.filter import REASON_CHARS, Blocked, FilterContext, NamedFilter
from midstream.filters.filter_stage import FilterStage
from midstream.journal.plain_text import brief
from midstream.log.entries import DATA
from midstream.log.keys import id_of, tenant_of
from midstream.requests.request import GenerationRequest
from midstream.settings import Settings

CONTENT_FILTER: Final = "content_filter"
"""The finish reason of an answer that a filter has stopped, and the kind of the entry that says why."""


class Filtering:
    """Takes an attempt's deltas as its writer does, and hands it what the filters make of them.

    Attributes:
        blocked_by: The filter that has stopped the answer; empty: none has. What comes after that is dropped.
    """

    def __init__(self, writer: Writer, stages: Sequence[FilterStage]) -> None:
        self.blocked_by = ""
        self._writer = writer
        self._stages = stages

    def go_on(self, text: str) -> None:
        """Begin after the text of earlier attempts, as it is on the log."""
        for stage in self._stages:
            stage.context.add(text)

    async def put(self, delta: Delta) -> None:
        """Take a delta.

        Raises:
            SourceError: A filter failed, or as `Writer.put`.
        """
        if self.blocked_by:
            return
        for each in await self._through(delta):
            await self._writer.put(each)

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
    if not filters:
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
    return Filtering(writer, stages)
