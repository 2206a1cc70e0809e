"""`midstream up --reload`: starts processes again when the user's code has changed (PROTOCOL: App/Reload)."""

import logging
from collections.abc import Sequence
from pathlib import Path

from midstream.cli.child_output import say
from midstream.cli.supervisor import Supervisor


async def reload_always(supervisor: Supervisor, names: Sequence[str], folder: Path) -> None:
    """Start children again whenever a Python file below a folder has changed; those of environments do not count.

    Args:
        supervisor: Runs the children.
        names: The names of those children.
        folder: Where the user's code is.
    """
    from watchfiles import PythonFilter, awatch  # noqa: PLC0415 - only who reloads needs it

    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    async for changes in awatch(folder, watch_filter=PythonFilter()):
        first = min(Path(path) for _, path in changes)
        say(f"{first.relative_to(folder)} has changed: starting {', '.join(names)} again", supervisor.name)
        supervisor.restart(names)
