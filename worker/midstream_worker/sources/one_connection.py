"""Base of sources whose generations end with their connection."""

from collections.abc import AsyncGenerator

from midstream.attempts.delta import Delta, SourceError, Upstream


class OneConnection:
    """A source that cannot be re-attached: closing its iterator stops the generation."""

    resumable = False
    replays = False

    async def reattach(
        self,
        upstream_id: str,
        after: int | None,
        delivered_text: str,  # noqa: ARG002  the protocol's signature
    ) -> AsyncGenerator[Delta]:
        """Raise `reattach_unsupported`."""
        raise SourceError("reattach_unsupported", f"The generation {upstream_id} was gone with its connection.")
        yield Upstream(upstream_id, cursor=after)  # type: ignore[unreachable]  # a yield makes it a generator

    async def cancel(self, upstream_id: str) -> None:
        """Do nothing: closing the iterator stops it."""
