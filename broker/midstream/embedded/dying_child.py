"""How a child is started that must not outlive this process."""

import os
import sys
from pathlib import Path
from typing import Final

_LAUNCHER: Final = str(Path(__file__).with_name("launch.py"))


def dying_with_this_process(*words: str) -> tuple[str, ...]:
    """Return the words that start a command, and kill it when this process dies."""
    return (sys.executable, "-IS", _LAUNCHER, str(os.getpid()), *words)
