"""Starts a child that dies with its supervisor: `python launch.py SUPERVISOR_PID COMMAND…`.

Linux alone can promise it, also for a supervisor that was killed with SIGKILL: the kernel sends the child a
signal when its parent dies (PR_SET_PDEATHSIG), and keeps to that over `exec`. It is asked for here, in a
process of its own, because doing so between fork and exec (`preexec_fn`) can dead-lock a parent with threads.
Elsewhere a supervisor that is killed leaves its children; they hold the data directory's lock, so that the
next `up` says so instead of writing beside them.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask to die with the parent, then become the command."""
    supervisor, *command = sys.argv[1:]
    if sys.platform == "linux":
        # SIGKILL, because nobody is left to wait for a slow end. Valkey loses nothing by it: what it has
        # acknowledged was written to its file, and is lost in a power cut only.
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(supervisor):  # it died before we asked
        sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606 - the supervisor gives the command; no shell


if __name__ == "__main__":
    main()
