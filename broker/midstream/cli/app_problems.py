"""Finds the user's own sources that cannot be imported. A process of its own tries it, because importing runs them."""

import asyncio
import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from midstream.embedded.dying_child import dying_with_this_process

IMPORT_TIMEOUT_S: Final = 30.0


async def problems_of(apps: Mapping[str, str]) -> dict[str, str]:
    """Return what is wrong with the apps (name to `module:function`) that cannot be imported."""
    if not apps:
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
    problem_by_name: dict[str, str | None] = dict(map(json.loads, verdicts.splitlines()))
    late = f"it took longer than {IMPORT_TIMEOUT_S:.0f} s, or ended the process"
    problems = ((name, path, problem_by_name.get(name, late)) for name, path in apps.items())
    return {
        name: f"which cannot be imported: {path}: {problem} (looked in {Path.cwd()})"
        for name, path, problem in problems
        if problem is not None
    }
