"""Tells whether the event loop of the main thread is blocked, and by which code."""

import asyncio
import logging
import sys
import sysconfig
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

from midstream.lifecycle.shared_turns import until_turn_s

logger = logging.getLogger(__name__)

BEAT_S: Final = 0.25
"""How often the loop notes the time, and how often the other thread looks at it, while this process holds leases."""
CALM_BEAT_S: Final = 0.5
CALM_LOOK_S: Final = 1.0
"""The same while it holds none. Two beats fit between two looks, so a beat that is a little late alarms nobody."""
WARN_S: Final = 1.0
"""A loop that has been blocked for this long is worth a line in the log."""
FRAMES: Final = 200
"""How many of the innermost calls are looked at. The stack belongs to a thread that runs on: without an end, a stack
that is read as a circle would block the thread that looks, as seen with Python 3.11.7 and `PYTHONASYNCIODEBUG=1`."""
_NOT_AN_APP: Final = (
    str(Path(__file__).parents[1]),
    sysconfig.get_path("stdlib"),
    sysconfig.get_path("purelib"),
    sysconfig.get_path("platlib"),
)


class LoopWatch:
    """Watches the loop that `start` is called on; another thread calls `look` every `look_s`.

    Args:
        model_of: Returns the model of a stream that this process runs, or an empty string.
        is_calm: Tells whether this process runs no stream.
        folder: Where the program's own code is, which is never named as what blocks the loop; empty: nowhere.
    """

    def __init__(self, model_of: Callable[[str], str], is_calm: Callable[[], bool], folder: str = "") -> None:
        self._model_of = model_of
        self._is_calm = is_calm
        self._not_an_app = (*_NOT_AN_APP, *([folder] if folder else []))
        self._loop: asyncio.AbstractEventLoop
        self._thread_id = 0
        self._turns = 0
        self._turned_s = 0.0
        self._gap_s = 0.0
        self._beat: asyncio.TimerHandle | None = None
        # Only the thread that looks uses these:
        self._seen_turns = -1
        self._looked_s = 0.0
        self._blocked_s = 0.0
        self._culprit = ""

    def start(self) -> None:
        """Watch the running loop of the calling thread."""
        self._loop, self._thread_id = asyncio.get_running_loop(), threading.get_ident()
        self._looked_s = self._turned_s = time.monotonic()
        self._turn()

    def stop(self) -> None:
        """Stop watching."""
        if self._beat is not None:
            self._beat.cancel()

    def beat_now(self) -> None:
        """End a calm: the next beat comes as soon as it does while this process holds leases."""
        if self._beat is not None:
            self._beat.cancel()
            self._turn()

    @property
    def look_s(self) -> float:
        """The time until the other thread has to look again."""
        return CALM_LOOK_S if self._is_calm() else BEAT_S

    def look(self, rested_s: float) -> tuple[float, str]:
        """Return for how many seconds the loop has been blocked, and by what; `rested_s` was the `look_s` before this.

        Only time in which the looking thread itself ran is counted: in a process that was stopped, or on a machine
        that slept, the loop was not blocked.
        """
        now_s = time.monotonic()
        passed_s, self._looked_s = now_s - self._looked_s, now_s
        turns = self._turns
        if turns != self._seen_turns:
            if self._culprit:
                logger.warning("%s blocked the event loop; it was blocked for %.1f s", self._culprit, self._gap_s)
            self._seen_turns, self._blocked_s, self._gap_s, self._culprit = turns, 0.0, 0.0, ""
            return 0.0, ""
        self._blocked_s += min(passed_s, 2 * rested_s)
        if self._blocked_s >= WARN_S and not self._culprit:
            self._culprit = self._find_culprit()
            logger.warning(
                "%s blocks the event loop of this process, for %.1f s so far; nothing else goes on meanwhile",
                self._culprit,
                self._blocked_s,
            )
        return self._blocked_s, self._culprit

    def _turn(self) -> None:
        now_s = time.monotonic()
        self._gap_s, self._turned_s = max(self._gap_s, now_s - self._turned_s), now_s
        self._turns += 1
        self._beat = self._loop.call_later(until_turn_s(CALM_BEAT_S if self._is_calm() else BEAT_S), self._turn)

    def _find_culprit(self) -> str:
        task = asyncio.current_task(self._loop)
        words = task.get_name().split() if task is not None else []
        model = self._model_of(words[-1]) if words else ""
        frame = sys._current_frames().get(self._thread_id)  # noqa: SLF001 - there is no other way to see it
        stack = traceback.extract_stack(frame, limit=FRAMES) if frame is not None else []
        # The innermost code that belongs neither to us nor to a library is the app's.
        apps_lines = [line for line in stack if not line.filename.startswith(self._not_an_app)]
        where = [f"{Path(line.filename).name}:{line.lineno} in {line.name}" for line in (apps_lines or stack)[-1:]]
        what = f"{model} (stream {words[-1]})" if model else " ".join(words)
        return " at ".join(part for part in (what or "something", *where) if part)
