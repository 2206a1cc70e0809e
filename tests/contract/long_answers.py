"""An answer longer than what the kernel and a server keep for a client that reads nothing.

It has few, large deltas: for a demo of as many bytes a worker takes 1.7 s of CPU.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Final

from midstream.settings import Settings

PARTS: Final = 700
LONG: Final = {"model": "app/long", "input": "x"}
APPS: Final = {"long": f"{__name__}:answer"}


async def answer(_messages: list[dict[str, Any]], params: dict[str, Any]) -> AsyncGenerator[str]:
    """Yield 700 kB, or as many as `parts`, slowly enough that tails follow what is written."""
    for number in range(params.get("parts", PARTS)):
        await asyncio.sleep(0.001)
        yield f"{number:07} " * 125


def with_long(settings: Settings, **changes: object) -> Settings:
    """Return settings with the app, and further changes."""
    return settings.model_copy(update={"apps": APPS, **changes})
