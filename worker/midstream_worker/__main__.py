"""`python -m midstream_worker`: one worker process, until SIGTERM."""

import asyncio
import logging
import sys
from pathlib import Path

import uvloop
from pydantic import ValidationError

from midstream.settings import Settings
from midstream_worker.process import Process


async def _run(settings: Settings) -> None:
    await Process(settings).run()


def main() -> int:
    """Run a worker and return the exit code: 2 for settings that do not fit."""
    try:
        settings = Settings()
    except ValidationError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("arq").setLevel(logging.WARNING)  # a line per job tells nothing: jobs are over at once
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    if settings.apps:
        # The user's own folder, for apps alone, and last: a file there must never be taken for a module of ours, nor
        # of a package that we use.
        sys.path.append(str(Path.cwd()))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
