"""Lifespans that do not open, or do not close, hold up no worker (PROTOCOL: App/Lifespan)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from midstream_worker.sources import lifespans
from midstream_worker.sources.lifespans import Lifespans

LIMIT_S = 0.05


@asynccontextmanager
async def never_opens() -> AsyncIterator[None]:
    await asyncio.Event().wait()
    yield


@asynccontextmanager
async def never_closes() -> AsyncIterator[str]:
    yield "objects"
    for _ in range(3):
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


async def test_a_lifespan_that_hangs_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """App/Lifespan."""
    monkeypatch.setattr(lifespans, "CANCEL_S", LIMIT_S)
    several = Lifespans(LIMIT_S)
    for _ in range(2):  # two apps share it
        with pytest.raises(TimeoutError, match="MIDSTREAM_APP_LIFESPAN_S"):
            await several.open(never_opens)
    await several.open(never_closes)
    assert several.objects(never_closes) == "objects"
    async with asyncio.timeout(1):
        await several.aclose()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert len(left) == 1
    for task in left:
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)
