"""How an attempt begins, given what earlier attempts have left (PROTOCOL: Recovery/Begin)."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from midstream.attempts.app_context import AppContext
from midstream.attempts.delta import Delta
from midstream.attempts.replay import Replay
from midstream.log.entries import RESET, STATUS, Entry
from midstream.log.log import Log
from midstream.log.reading import read_answer
from midstream.log.state import State
from midstream.requests.request import GenerationRequest
from midstream_worker.app_run import logged
from midstream_worker.sources.source import Prompt, Source

QUOTE_CHARS: Final = 2_000
"""How much of the interrupted answer's end is quoted to the model that continues it."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """What to write first, and where the deltas come from.

    `upstream_id` is set where the same upstream generation is read on; otherwise a call is made. `delivered_text` is
    the answer so far, which goes on. `replay` is set where an app is run again.
    """

    entries: list[Entry]
    prompt: Prompt
    upstream_id: str | None = None
    cursor: int | None = None
    delivered_text: str = ""
    replay: Replay | None = None

    @property
    def makes_call(self) -> bool:
        """Whether this beginning makes an upstream call."""
        return self.upstream_id is None

    def open(self, source: Source, context: Callable[[str, Any], Awaitable[AppContext]]) -> AsyncGenerator[Delta]:
        """Return the deltas; `context` makes that of an app."""
        if self.upstream_id is None:
            return source.open(replace(self.prompt, context=context))
        return source.reattach(self.upstream_id, self.cursor, self.delivered_text)


async def begin(
    log: Log, stream_id: str, state: State, request: GenerationRequest, model: str, *, replays: bool
) -> Beginning | None:
    """Return how this attempt begins; None if no policy allows another attempt.

    `replays` says that the source is an app that is run again from its beginning (PROTOCOL: Step/Replay).

    Raises:
        LogUnavailable: Redis did not answer.
    """
    prompt = Prompt(model, request.as_messages(), request.params)
    if not state.intent:
        return Beginning([], prompt)
    if state.policy == "reattach" and state.upstream_id:
        status = Entry(STATUS, {"state": "reattaching", "reason": "worker_lost", "paid": False})
        cursor = None if state.upstream_cursor < 0 else state.upstream_cursor
        text = (await read_answer(log, stream_id)).text
        return Beginning([status], prompt, state.upstream_id, cursor, text)
    if state.policy == "restart":
        return Beginning([Entry(RESET, {"reason": "restarting"}), _paid_again("restarting")], prompt)
    if state.policy == "continue":
        if replays:
            entries = [entry async for entry in logged(log, stream_id, state.tail)]
            return Beginning([_paid_again("replaying")], prompt, replay=Replay(entries))
        text = (await read_answer(log, stream_id)).text
        messages = continued(request.as_messages(), text) if text else request.as_messages()
        prompt = Prompt(model, messages, request.params)
        return Beginning([_paid_again("continuing")], prompt, delivered_text=text)
    return None


def continued(messages: list[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    """Return messages that ask the model to continue; current models refuse a prefill (docs/findings.md: Upstream)."""
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


def _paid_again(state: str) -> Entry:
    return Entry(STATUS, {"state": state, "reason": "worker_lost", "paid": True})
