"""What a process that decodes strangers' files may not do: eat the machine, open a connection, outlive us.

| | Linux | macOS | Windows |
|---|---|---|---|
| processor seconds a file | yes | yes | no |
| memory, and the first to go when the machine runs out of it | yes | no | no |
| no connection, no other program (x86_64 and aarch64) | yes | no | no |
| no core dump, no file written | yes | yes | no |
| ends with us | at once | by a watching thread | by a watching thread |

The clock on the wall is kept by the process that waits, on every system.
"""

import multiprocessing
import os
import sys
import threading
from dataclasses import dataclass

from client.confinement import be_ended_first, end_with_parent, hide_memory, limit_memory
from client.denied_calls import deny_calls

if sys.platform != "win32":
    import resource


@dataclass(frozen=True)
class Limits:
    """What one file may cost, and how many a process reads."""

    memory_bytes: int = 4 << 30
    """Above what the idle process has. The largest frame that is read at all, 2^27 pixels of CT in
    three windows, takes more than 2 GiB and less than 3."""
    cpu_seconds: int = 60
    """Whole seconds; not those that other processes take on a busy machine."""
    wall_seconds: float = 300.0
    """For what waits without computing: a dead network drive."""
    files: int = 1000
    """For one process, then a fresh one follows: decoders leak."""


def confine(limits: Limits, *, keep: int) -> None:
    """Put this process, which has no threads yet, under all limits but those on time.

    Of what it has open, it keeps the file descriptor `keep`.
    """
    _end_with_parent(keep)
    _swallow_output()
    if sys.platform == "win32":
        return
    if sys.platform == "linux":
        be_ended_first()
        limit_memory(limits.memory_bytes)
        hide_memory()
        deny_calls()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def allow_seconds(limits: Limits) -> None:
    """Let this process compute for `limits.cpu_seconds` from now on; then SIGXCPU ends it."""
    if sys.platform != "win32":
        used = resource.getrusage(resource.RUSAGE_SELF)
        allowed = int(used.ru_utime + used.ru_stime) + 1 + limits.cpu_seconds
        resource.setrlimit(resource.RLIMIT_CPU, (allowed, resource.RLIM_INFINITY))


def _end_with_parent(keep: int) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    if sys.platform == "linux":
        # The fork server ends with our parent unless we hold its pipe open, and we end with the fork server.
        _close_all_but(keep, parent.sentinel)
        end_with_parent()
        if not parent.is_alive():
            os._exit(1)
    else:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def _close_all_but(*kept: int) -> None:
    start = 3
    for descriptor in sorted(kept):
        os.closerange(start, descriptor)
        start = descriptor + 1
    os.closerange(start, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _swallow_output() -> None:
    """Codecs print, and what they print may quote a header."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)
