"""How an attempt begins, given what earlier attempts left behind (PROTOCOL: Recovery/Begin)."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Final

from midstream.log.entries import RESET, STATUS, Entry, decode
from midstream.log.log import Log
from midstream.log.state import State
from midstream.requests.request import GenerationRequest
from midstream_worker.sources.deltas import Delta
from midstream_worker.sources.source import Prompt, Source

QUOTE_CHARS: Final = 2_000
"""How much of the interrupted answer's end is quoted to the model that goes on from it."""
READ_PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Beginning:
    """What to write first, and where the deltas come from.

    `upstream_id` is set when the same upstream generation is read on; otherwise a call is made.
    """

    entries: list[Entry]
    prompt: Prompt
    upstream_id: str | None = None
    cursor: int | None = None
    delivered_text: str = ""

    @property
    def calls(self) -> bool:
        """Whether this beginning makes an upstream call."""
        return self.upstream_id is None

    def open(self, source: Source) -> AsyncGenerator[Delta]:
        """Return the deltas."""
        if self.upstream_id is None:
            return source.open(self.prompt)
        return source.reattach(self.upstream_id, self.cursor, self.delivered_text)


async def begin(log: Log, stream_id: str, state: State, request: GenerationRequest, model: str) -> Beginning | None:
    """Return how this attempt begins; None if no policy allows another attempt.

    Raises:
        LogUnavailable: Redis did not answer.
    """
    prompt = Prompt(model, request.as_messages(), request.params)
    if not state.intent:
        return Beginning([], prompt)
    if state.policy == "reattach" and state.upstream_id:
        status = Entry(STATUS, {"state": "reattaching", "reason": "worker_lost", "paid": False})
        cursor = None if state.upstream_cursor < 0 else state.upstream_cursor
        return Beginning([status], prompt, state.upstream_id, cursor, await _delivered(log, stream_id))
    if state.policy == "restart":
        return Beginning(
            [Entry(RESET, {"reason": "restarting"}), _paid_again("restarting")],
            prompt,
        )
    if state.policy == "continue":
        text = await _delivered(log, stream_id)
        messages = continued(request.as_messages(), text) if text else request.as_messages()
        return Beginning([_paid_again("continuing")], Prompt(model, messages, request.params))
    return None


def continued(messages: list[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    """Return messages that ask the model to go on; current models refuse a prefill (docs/findings.md: Upstream)."""
    quote = text[-QUOTE_CHARS:]
    return [
        *messages,
        {"role": "assistant", "content": text},
        {
            "role": "user",
            "content": "Your answer was interrupted. It ended with:\n\n"
            f"{quote}\n\nGo on exactly where it stopped. Repeat nothing and do not comment on the interruption.",
        },
    ]


def _paid_again(what: str) -> Entry:
    return Entry(STATUS, {"state": what, "reason": "worker_lost", "paid": True})


async def _delivered(log: Log, stream_id: str) -> str:
    """Return the text on the log behind the last reset."""
    parts: list[str] = []
    after = 0
    while True:
        _, page = await log.read(stream_id, after, READ_PAGE)
        for row in page:
            entry = decode(row.content, row.offset, row.epoch)
            if entry.type == "text":
                parts.append(entry.text)
            elif entry.type == RESET:
                parts.clear()
        if len(page) < READ_PAGE:
            return "".join(parts)
        after = page[-1].offset
