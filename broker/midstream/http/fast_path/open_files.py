"""The limit on the files that a process may have open: each connection is one."""

import logging
import resource
import time
from typing import Final

logger = logging.getLogger(__name__)

MARGIN: Final = 16
"""How near to the limit it is told. At the limit itself new connections are closed before we see them."""
TOLD_AGAIN_S: Final = 60.0


def raise_limit() -> None:
    """Raise the soft limit to the hard one, which is as far as a process may go by itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError) as error:  # macOS says that there is no limit, and takes none so high
        logger.info("at most %d files can be open: %s", soft, error)


class OpenFiles:
    """Says when the limit is near, from the number of each new file: the lowest free one is always taken."""

    def __init__(self) -> None:
        self._told_s: float | None = None

    def opened(self, descriptor: int) -> None:
        """Note a new file."""
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if limit == resource.RLIM_INFINITY or descriptor + MARGIN < limit:
            return
        now_s = time.monotonic()
        if self._told_s is None or now_s - self._told_s > TOLD_AGAIN_S:
            self._told_s = now_s
            logger.warning(
                "%d files are open of at most %d: further clients will be turned away; raise the limit (ulimit -n), or "
                "run more brokers",
                descriptor,
                limit,
            )
