"""Files that this process can no longer reach, nor what it starts: all but some folders (Linux, Landlock).

Source: landlock(7), Documentation/userspace-api/landlock.rst. It needs no rights, so it holds inside
containers too. What was opened before stays open; names, sizes and times of files can still be seen.
"""

import ctypes
import os
import sys
from collections.abc import Sequence
from enum import IntFlag

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""Numbers of the system calls, the same on every kind of processor."""
VERSION, PATH_BENEATH = 1, 1
LEAST_VERSION = 3
"""Before it, of Linux 6.2, files could be emptied by whoever may not write to them."""
SCOPES_VERSION = 6
PR_SET_NO_NEW_PRIVS = 38


class Access(IntFlag):
    """What a rule may allow, as linux/landlock.h has it."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14


EVERYTHING = Access((1 << 15) - 1)
"""What is denied where no rule allows it."""
OF_FILES = Access.EXECUTE | Access.WRITE_FILE | Access.READ_FILE | Access.TRUNCATE
"""What a rule for a single file may speak of."""
READ = Access.READ_FILE | Access.READ_DIR
RUN = READ | Access.EXECUTE
USE = READ | Access.WRITE_FILE
"""Devices: written to, never made."""
CHANGE = USE | Access.TRUNCATE | Access.MAKE_REG | Access.MAKE_DIR | Access.REMOVE_FILE | Access.REMOVE_DIR
SCOPE_ABSTRACT_SOCKETS, SCOPE_SIGNALS = 1, 2


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Rule(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def landlock_version() -> int:
    """Of the kernel's Landlock; 0 where it has none, or lets nobody use it."""
    if sys.platform != "linux":
        return 0
    version: int = _library().syscall(CREATE_RULESET, None, ctypes.c_size_t(0), VERSION)
    return max(0, version)


def can_confine_files() -> bool:
    """Whether `confine_files` works here."""
    return landlock_version() >= LEAST_VERSION


def confine_files(rules: Sequence[tuple[str, Access]]) -> None:
    """Deny this process, for good, every file but those that `rules` name; it has no other thread yet.

    Newer kernels also keep it from sending signals to, and reaching abstract sockets of, processes that it
    did not start.

    Args:
        rules: a file, or a folder with all below it, and what is allowed there; one that is not there now
            stays out of reach though it be made later.

    Raises:
        OSError: the kernel does not do it; see `can_confine_files`.
    """
    scoped = SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS if landlock_version() >= SCOPES_VERSION else 0
    asked = _Ruleset(EVERYTHING, 0, scoped)
    size = ctypes.sizeof(_Ruleset) if scoped else ctypes.sizeof(ctypes.c_uint64)
    ruleset = _call(CREATE_RULESET, ctypes.byref(asked), ctypes.c_size_t(size), 0)
    try:
        for path, access in rules:
            _allow(ruleset, path, access)
        if _library().prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
            raise _error()
        _call(RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, access: Access) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return  # nothing to reach
    try:
        if not os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112 - of what is open, not of a name
            access &= OF_FILES
        _call(ADD_RULE, ruleset, PATH_BENEATH, ctypes.byref(_Rule(access, descriptor)), 0)
    finally:
        os.close(descriptor)


def _call(number: int, *arguments: object) -> int:
    found: int = _library().syscall(number, *arguments)
    if found < 0:
        raise _error()
    return found


def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
