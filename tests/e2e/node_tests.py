"""Tests that are written in JavaScript: their packages installed as a lock says, and run by Node's own test runner."""

import asyncio
import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest


def installed(folder: Path, *command: str) -> str:
    """Return Node's path, with a folder's packages installed; skips the test where that cannot be.

    Test processes begin with such tests at once, and two installations in one folder break both: one does it, and the
    others wait.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("there is no `node` and `npm` on the PATH")
    lock, stamp = folder / "package-lock.json", folder / "node_modules" / ".package-lock.json"
    words = [npm, *(command or ("ci", "--ignore-scripts")), "--no-audit", "--no-fund"]
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.stat().st_mtime < lock.stat().st_mtime:
            done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"npm could not install what {folder.name} needs:\n{done.stderr[-1_000:]}")
    return node


async def passed(node: str, folder: Path, script: str, *options: str, **environment: str) -> int:
    """Run a script's tests and return how many passed; fails as they do."""
    process = await asyncio.create_subprocess_exec(
        *(node, "--test-reporter=spec", "--test-timeout=40000", "--test", *options, script),
        cwd=folder,
        env={"PATH": os.environ["PATH"], **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    report = output.decode()
    assert process.returncode == 0, report
    counts = dict(
        line.split()[1:3] for line in report.splitlines() if line.startswith(("\u2139 pass ", "\u2139 fail "))
    )
    assert counts["fail"] == "0", report
    assert int(counts["pass"]), report
    return int(counts["pass"])
