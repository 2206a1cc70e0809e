"""The limit on the files that a process may have open: each connection is one."""

import logging
import resource
import time
from typing import Final

logger = logging.getLogger(__name__)

MARGIN: Final = 16
"""So many files below the limit it is logged. At the limit itself new connections are closed before we see them."""
LOG_AGAIN_S: Final = 60.0


def raise_limit() -> None:
    """Raise the soft limit to the hard one, which is as far as a process may go by itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError) as error:  # macOS reports no limit, and accepts none so high
        logger.info("at most %d files can be open: %s", soft, error)


class OpenFiles:
    """Logs when the limit is near. It knows that by the number of a new file, because the lowest free one is taken."""

    def __init__(self) -> None:
        self._logged_s: float | None = None

    def opened(self, descriptor: int) -> None:
        """Note a new file."""
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if limit == resource.RLIM_INFINITY or descriptor + MARGIN < limit:
            return
        now_s = time.monotonic()
        if self._logged_s is None or now_s - self._logged_s > LOG_AGAIN_S:
            self._logged_s = now_s
            logger.warning(
                "%d files are open of at most %d: further clients will be turned away; raise the limit (ulimit -n), or "
                "run more brokers",
                descriptor,
                limit,
            )
