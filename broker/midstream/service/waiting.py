"""Waiting until a tail is sent anything, or ends."""

import asyncio

from midstream.hub.tail import Tail


async def noticed(tail: Tail, wait_s: float) -> bool:
    """Wait until the tail has sent something or has closed, for at most `wait_s`; return whether it has."""
    watch = _Watch()
    try:
        tail.begin(watch)
        async with asyncio.timeout(wait_s):
            await watch.notice.wait()
    except TimeoutError:
        return False
    finally:
        tail.close()
    return True


class _Watch:
    """A sink that only notices that it was given something, or that nothing more comes."""

    ready = True

    def __init__(self) -> None:
        self.notice = asyncio.Event()

    def write(self, chunk: bytes) -> None:  # noqa: ARG002
        """Notice."""
        self.notice.set()

    def close(self) -> None:
        """Notice."""
        self.notice.set()
