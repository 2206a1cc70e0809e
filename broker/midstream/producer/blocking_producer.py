"""The producer for programs without an event loop: `midstream.sync.produce`."""

from collections.abc import Callable, Coroutine, Mapping
from types import TracebackType
from typing import Any, Self

from midstream.attempts.delta import Delta, FinishReason
from midstream.attempts.steps import Unknown, once_in_thread
from midstream.producer.producer import Producer

Run = Callable[[Coroutine[Any, Any, Any]], Any]


class BlockingProducer:
    """One stream, appended to by this program; a context manager. Any thread may call its methods.

    It has the methods of `midstream.producer.producer.Producer`, with the same arguments and errors. Its lease is kept
    while the program waits for something else, and a cancel ends the stream meanwhile.

    Args:
        producer: Does the work, in the loop that `run` runs coroutines in.
        run: Returns what a coroutine returns.
    """

    def __init__(self, producer: Producer, run: Run) -> None:
        self._producer = producer
        self._run = run

    def __enter__(self) -> Self:
        """Start the stream; raises as `Producer`."""
        self._run(self._producer.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Write the end that the block has come to; raises as `Producer`."""
        return bool(self._run(self._producer.__aexit__(kind, error, trace)))

    @property
    def id(self) -> str:
        """The stream's id, in the block."""
        return self._producer.id

    @property
    def cancelled(self) -> bool:
        """Whether a client has cancelled the stream."""
        return self._producer.cancelled

    def text(self, piece: str) -> None:
        """Append a piece of the answer."""
        self._run(self._producer.text(piece))

    def reasoning(self, piece: str) -> None:
        """Append a piece of visible reasoning."""
        self._run(self._producer.reasoning(piece))

    def tool_input(self, call_id: str, name: str, piece: str) -> None:
        """Append a fragment of a call's JSON arguments."""
        self._run(self._producer.tool_input(call_id, name, piece))

    def tool_call(self, call_id: str, name: str, arguments: str | Mapping[str, Any]) -> None:
        """Append a call of a tool with all its arguments, an object or its JSON text."""
        self._run(self._producer.tool_call(call_id, name, arguments))

    def tool_result(self, call_id: str, output: Any, **more: Any) -> None:
        """Append what a tool returned, anything that JSON can hold."""
        self._run(self._producer.tool_result(call_id, output, **more))

    def source(self, **fields: Any) -> None:
        """Append a source, for example with `url` and `title`."""
        self._run(self._producer.source(**fields))

    def file(self, **fields: Any) -> None:
        """Append a file, for example with `url` and `media_type`."""
        self._run(self._producer.file(**fields))

    def data(self, kind: str, **fields: Any) -> None:
        """Append data of your own kind."""
        self._run(self._producer.data(kind, **fields))

    def usage(self, input_tokens: int, output_tokens: int, **details: Any) -> None:
        """Append the tokens that were used."""
        self._run(self._producer.usage(input_tokens, output_tokens, **details))

    def write(self, item: str | Delta) -> None:
        """Append what an app could yield: a text, or a delta."""
        self._run(self._producer.write(item))

    def once(self, name: str, arguments: Any, call: Callable[[], Any], *, unknown: Unknown = "ask") -> Any:
        """Do a step once, in this thread, and return its result."""
        producer = self._producer

        def run(work: Coroutine[Any, Any, Any]) -> Any:
            return self._run(producer.in_step(work))

        return once_in_thread(producer.steps, run, name, arguments, call, unknown)

    def finish(self, reason: FinishReason) -> None:
        """Name the reason for which the answer ends."""
        self._producer.finish(reason)
