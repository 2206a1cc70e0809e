"""Whether the user's own sources can be imported, found out by a process of its own: importing runs their code."""

import asyncio
import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from midstream.cli.supervisor import say

IMPORT_TIMEOUT_S: Final = 30.0


async def problems_of(apps: Mapping[str, str]) -> dict[str, str]:
    """Return, and say, what is wrong with the apps (name to `module:function`) that cannot be imported."""
    if not apps:
        return {}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "midstream_worker.app_check"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,  # the worker logs what an app says while it is imported
    )
    verdicts = b""
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(IMPORT_TIMEOUT_S):
                assert process.stdout is not None  # noqa: S101 - it was started with a pipe
                while line := await process.stdout.readline():
                    verdicts += line
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    found: dict[str, str | None] = {
        name: problem for name, problem in map(json.loads, verdicts.splitlines()) if name in apps
    }
    late = f"it took longer than {IMPORT_TIMEOUT_S:.0f} s, or ended the process"
    problems = {}
    for name, path in apps.items():
        if (problem := found.get(name, late)) is not None:
            problems[name] = f"which cannot be imported: {path}: {problem} (looked in {Path.cwd()})"
            say(f"app/{name}, {problems[name]}")
    return problems
