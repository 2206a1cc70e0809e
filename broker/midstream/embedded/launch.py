"""Starts a child that dies with its supervisor: `python launch.py SUPERVISOR_PID COMMAND…`.

On Linux the kernel sends the child a signal when its parent dies, even by SIGKILL (PR_SET_PDEATHSIG), and that holds
across `exec`. The request is made here, in a process of its own, because making it between fork and exec
(`preexec_fn`) can dead-lock a parent that has threads. On other systems the children of a killed supervisor live on.
They hold the lock of the data directory, so the next `up` reports that instead of writing beside them.
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
        # SIGKILL, because no supervisor is left that could wait for a slow end. Valkey loses nothing by it: what it
        # has acknowledged is in its file, and only a power cut can lose that.
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(supervisor):  # it died before the request above
        sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606 - the command comes from the supervisor and runs without a shell


if __name__ == "__main__":
    main()
