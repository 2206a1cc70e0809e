"""Finds the user's own sources that cannot be imported. A process of its own tries it, because importing runs them."""

import asyncio
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from midstream.embedded.dying_child import dying_with_this_process
from midstream.settings import Settings

IMPORT_TIMEOUT_S: Final = 30.0


async def apps_of(settings: Settings) -> dict[str, str]:
    """Return where each app is (`module:function`), or what is wrong with it, also of those of `app_modules`."""
    apps = settings.apps
    if not apps and not settings.app_modules:
        return {}
    process = await asyncio.create_subprocess_exec(
        *dying_with_this_process(sys.executable, "-P", "-m", "midstream_worker.app_check"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,  # the worker logs what an app says while it is imported
    )
    assert process.stdout is not None  # noqa: S101 - it was started with a pipe
    verdicts = b""
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(IMPORT_TIMEOUT_S):
                while line := await process.stdout.readline():
                    verdicts += line
                await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    rows: dict[str, tuple[str, str | None]] = {
        name: (path, problem) for name, path, problem in map(json.loads, verdicts.splitlines())
    }
    late = f"it took longer than {IMPORT_TIMEOUT_S:.0f} s, or ended the process"
    rows = {name: (path, late) for name, path in apps.items()} | rows
    return {
        name: f"which cannot be imported: {path}: {problem} (looked in {Path.cwd()})" if problem else path
        for name, (path, problem) in rows.items()
    }
