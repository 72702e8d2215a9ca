"""System calls that decoding and training never need, denied to this process by the kernel (Linux, seccomp).

Source: seccomp(2), Documentation/userspace-api/seccomp_filter.rst. It needs no rights, so it holds inside
containers too.
"""

import ctypes
import errno
import platform
import struct
from collections.abc import Sequence
from dataclasses import dataclass

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
LOAD_WORD, JUMP_IF_EQUAL, JUMP_IF_AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06  # linux/bpf_common.h
NUMBER_OFFSET, MACHINE_OFFSET = 0, 4  # struct seccomp_data
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
X32 = 0x40000000
"""From here on the same calls again, for 32-bit pointers on x86_64."""


@dataclass(frozen=True)
class Machine:
    """How a kind of processor names itself and the calls: an AUDIT_ARCH value, and syscall numbers."""

    name: int
    socket: int
    execve: int
    execveat: int
    ptrace: int
    process_vm_readv: int
    process_vm_writev: int
    io_uring_setup: int = 425
    """It opens connections without calling `socket`."""
    pidfd_getfd: int = 438
    """It takes another process's connections."""

    @property
    def denied(self) -> tuple[int, ...]:
        """Numbers of the calls that are refused."""
        return (
            *(self.socket, self.execve, self.execveat),
            *(self.ptrace, self.process_vm_readv, self.process_vm_writev),
            *(self.io_uring_setup, self.pidfd_getfd),
        )


MACHINES = {
    "x86_64": Machine(
        0xC000003E,
        socket=41,
        execve=59,
        execveat=322,
        ptrace=101,
        process_vm_readv=310,
        process_vm_writev=311,
    ),
    "aarch64": Machine(
        0xC00000B7,
        socket=198,
        execve=221,
        execveat=281,
        ptrace=117,
        process_vm_readv=270,
        process_vm_writev=271,
    ),
}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def deny_calls() -> bool:
    """Refuse them to this process from now on, with EPERM; False where the machine or the kernel cannot."""
    machine = MACHINES.get(platform.machine())
    if machine is None or ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    program = _filter(machine)
    call = ctypes.CDLL(None).prctl
    packed = _Program(len(program), b"".join(program))
    return not call(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) and not call(
        PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(packed), 0, 0
    )


def _filter(machine: Machine) -> Sequence[bytes]:
    """The instructions: refuse the denied numbers and any other instruction set, allow the rest."""
    count = len(machine.denied)
    return [
        _instruction(LOAD_WORD, MACHINE_OFFSET),
        _instruction(JUMP_IF_EQUAL, machine.name, otherwise=count + 3),
        _instruction(LOAD_WORD, NUMBER_OFFSET),
        _instruction(JUMP_IF_AT_LEAST, X32, then=count + 1),
        *(
            _instruction(JUMP_IF_EQUAL, number, then=count - place)
            for place, number in enumerate(machine.denied)
        ),
        _instruction(RETURN, ALLOW),
        _instruction(RETURN, REFUSE),
    ]


def _instruction(code: int, operand: int, *, then: int = 0, otherwise: int = 0) -> bytes:
    """A `struct sock_filter`; the jumps skip so many instructions."""
    return struct.pack("=HBBI", code, then, otherwise, operand)
