"""Whether the installed arq has all that the worker needs of its insides (docs/findings.md: arq)."""

import logging
import re
from importlib.metadata import version
from itertools import pairwise
from typing import Final

from arq.worker import Worker

logger = logging.getLogger(__name__)

TESTED: Final = ("0.28", "0.29")
"""From this version on, and before that one. `pyproject.toml` has the same bounds, and a test compares them."""
METHODS: Final = ("main", "_poll_iteration", "start_jobs")
"""What we override. Each has to call the next one."""
ATTRIBUTES: Final = ("ctx", "functions", "health_check_key", "loop", "on_shutdown", "pool", "queue_read_limit", "tasks")
"""What we read. We also write `queue_read_limit`."""


class UnfitArqError(Exception):
    """The installed arq lacks something without which no stream would be taken; the text says what to install."""


def check_arq(worker: Worker) -> None:
    """Warn of a version of arq that was not tested.

    Raises:
        UnfitArqError: It lacks something that we need.
    """
    first, end = TESTED
    installed = version("arq")
    absent = [name for name in METHODS if not hasattr(Worker, name)]
    absent += [name for name in ATTRIBUTES if not hasattr(worker, name)]
    lack = f"has no Worker.{', no Worker.'.join(absent)}" if absent else ""
    for caller, called in () if absent else pairwise(METHODS):
        if called not in getattr(Worker, caller).__code__.co_names:
            lack = f"does not call Worker.{called}"
    if lack:
        raise UnfitArqError(f"arq {installed} is installed, and {lack}: install arq>={first},<{end}")
    if not _numbers(first) <= _numbers(installed) < _numbers(end):
        logger.warning("arq %s is installed, and this worker was tested with arq %s", installed, first)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)))
