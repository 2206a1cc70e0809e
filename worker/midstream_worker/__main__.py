"""`python -m midstream_worker`: one worker process, until SIGTERM."""

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import Final, NoReturn

import uvloop
from pydantic import ValidationError
from pydantic_settings import SettingsError

from midstream.journal.journal import configure
from midstream.log.errors import UnfitServer
from midstream.metrics.metrics_settings import MetricsPortError
from midstream.settings import Settings
from midstream_worker.on_end import OnEndError
from midstream_worker.process import Process
from midstream_worker.sources.app_signature import AppSignatureError
from midstream_worker.tested_arq import UnfitArqError
from midstream_worker.worker_filters import FilterError

logger = logging.getLogger(__name__)

UNFIT: Final = (UnfitServer, UnfitArqError, MetricsPortError, OnEndError, FilterError, AppSignatureError)
"""Errors for which another start would end the same way (PROTOCOL: Processes/Unfit)."""


async def _run(settings: Settings) -> NoReturn:
    status = 0
    try:
        await Process(settings).run()
    except UNFIT as error:
        print(error, file=sys.stderr)  # noqa: T201
        status = 2
    except Exception:
        logger.critical("this worker ends", exc_info=True)
        status = 1
    # Exit at once: a task or thread that an app has left running must not keep the process alive.
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main() -> int:
    """Run a worker until the process ends; return 2 for invalid settings."""
    try:
        settings = Settings()
    except (ValidationError, SettingsError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    configure(settings)
    if settings.apps or settings.app_modules or settings.on_end or settings.filters:
        # The user's own folder, for apps, filters and the hook alone, and last: a file there must never be taken for a
        # module of ours, nor of a package that we use.
        sys.path.append(str(Path.cwd()))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(settings))


if __name__ == "__main__":
    sys.exit(main())
