"""OpenAI by its Responses API, or by chat completions for params that only these have."""

from collections.abc import AsyncGenerator

from midstream.attempts.delta import Delta
from midstream.requests.effective_params import chat_only
from midstream_worker.sources.openai_chat import OpenAIChat
from midstream_worker.sources.openai_responses import OpenAIResponses
from midstream_worker.sources.source import Prompt


class OpenAI:
    """Calls the one API that a prompt can be run by (PROTOCOL: Faces/Lacking).

    Args:
        responses: Runs every prompt that it can, because its generations can be re-attached.
        chat: Runs the others. The two share one client, which `responses` closes.
    """

    paid = True

    def __init__(self, responses: OpenAIResponses, chat: OpenAIChat) -> None:
        self.replays = False
        self.resumable = responses.resumable
        self._responses = responses
        self._chat = chat

    def open(self, prompt: Prompt) -> AsyncGenerator[Delta]:
        """Make the one upstream call and yield its deltas."""
        return (self._chat if chat_only(prompt.params) else self._responses).open(prompt)

    def reattach(self, upstream_id: str, after: int | None, delivered_text: str) -> AsyncGenerator[Delta]:
        """Go on reading a response; ids of completions are never stored."""
        return self._responses.reattach(upstream_id, after, delivered_text)

    async def cancel(self, upstream_id: str) -> None:
        """Stop a background response; a completion stops when its connection closes."""
        await self._responses.cancel(upstream_id)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._responses.aclose()
