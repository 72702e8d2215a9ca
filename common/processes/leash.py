"""Become a command that ends when its parent ends, even when the parent is killed.

Run as a script, without imports of ours: `leash.py PARENT_PID COMMAND...`. The wish to be told of the
parent's end survives `execv`, so nothing is left between the parent and the command.
Source: prctl(2), PR_SET_PDEATHSIG. Elsewhere than on Linux the command simply starts.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    """Replace this process by `command`; exit 1 if `parent` ended before we could ask."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(1)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
