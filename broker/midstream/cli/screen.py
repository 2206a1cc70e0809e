"""A text on a full screen of the terminal that is made again and again, until Ctrl-C.

It writes plain ANSI: the alternate screen, and each text over the one before. A library for screens was not taken,
because the client's installation would need it for `top` and `ls --watch` alone.
"""

import asyncio
import shutil
import sys
from collections.abc import Awaitable, Callable
from typing import Final

from midstream.client.client import MidstreamError
from midstream.journal.plain_text import harmless

ENTER: Final = "\x1b[?1049h\x1b[?25l"
"""Take the alternate screen and hide the cursor."""
LEAVE: Final = "\x1b[?25h\x1b[?1049l"
HOME: Final = "\x1b[H"
TO_LINE_END: Final = "\x1b[K"
TO_SCREEN_END: Final = "\x1b[J"


async def show(text_for: Callable[[int, int], Awaitable[str]], every_s: float) -> None:
    """Show what `text_for` returns for a width and a number of lines, every so many seconds; or the broker's error."""
    sys.stdout.write(ENTER)
    try:
        while True:
            fit, lines = shutil.get_terminal_size()
            try:
                text = await text_for(fit, lines - 1)
            except MidstreamError as error:
                text = f"error {error.code}: {error.detail}"[:fit]
            _write(text)
            await asyncio.sleep(every_s)
    except asyncio.CancelledError:
        return  # Ctrl-C
    finally:
        sys.stdout.write(LEAVE)
        sys.stdout.flush()


def _write(text: str) -> None:
    lines = (harmless(line) + TO_LINE_END for line in text.split("\n"))
    sys.stdout.write(HOME + "\r\n".join(lines) + TO_SCREEN_END)
    sys.stdout.flush()
