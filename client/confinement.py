"""Limits that a process puts itself under, as far as its system has them; for whatever runs strangers' bytes.

Ingest's readers and the gate's app process choose from these; each says which it has.
"""

import ctypes
import sys
from pathlib import Path

if sys.platform != "win32":
    import resource

PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4  # prctl(2)
SIGKILL = 9
LIKELIEST = b"1000"
"""Of what the kernel ends when memory runs out. Source: proc(5), oom_score_adj."""


def end_with_parent() -> None:
    """Let the kernel end this process when its parent ends (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL)


def hide_memory() -> None:
    """No core dump, and no other process of this user may look into this one's memory (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0)


def be_ended_first() -> None:
    """Be what the kernel ends when memory runs out (Linux)."""
    try:
        Path("/proc/self/oom_score_adj").write_bytes(LIKELIEST)
    except OSError:  # a container without /proc, or another system; other limits hold all the same
        return


def limit_memory(more_bytes: int) -> bool:
    """Let this process have `more_bytes` above what it has now; False where the system has no such limit."""
    if sys.platform != "linux":
        return False
    allowed = _private_bytes() + more_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))
    return True


def _private_bytes() -> int:
    """What RLIMIT_DATA counts: private memory that can be written, used or not."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) << 10
    raise OSError("/proc/self/status has no VmData")
