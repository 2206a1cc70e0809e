"""The limit on the files that a process may have open: each connection is one."""

import logging
import resource
from typing import Final

logger = logging.getLogger(__name__)

UNLIMITED: Final = 1_048_576
"""What counts as the limit where the system sets none."""


def raise_limit() -> None:
    """Raise the soft limit to the hard one, which is as far as a process may go by itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError) as error:  # macOS reports no limit, and accepts none so high
        logger.info("at most %d files can be open: %s", soft, error)


def most_files() -> int:
    """Return how many files this process may have open."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return UNLIMITED if soft == resource.RLIM_INFINITY else soft
