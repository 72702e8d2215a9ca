"""Readers that go wrong, for the tests of worker processes; each imports this, so it imports little."""

import ctypes
import os
import resource
import signal
import socket
import sys
import time
from pathlib import Path

BIG = 32 << 20


def read(path: Path) -> str:
    """Answer with the name, after doing what it says; a file of that name in a folder counts the reads."""
    fault = path.name.split("-")[0]
    if path.parent != Path():
        path.with_name(f"{path.name}.{os.getpid()}.{time.monotonic_ns()}").touch()
    match fault:
        case "segfault":
            ctypes.string_at(0)
        case "abort":
            os.abort()
        case "exit":
            os._exit(0)
        case "raise":
            raise ValueError("of a file")
        case "panic":
            raise BaseException("as decoders in Rust do")
        case "deep":
            sys.setrecursionlimit(1 << 30)
            descend()
        case "memory":
            return str(len(bytearray(1 << 40)))
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "loop":
            while True:
                pass
        case "close":
            os.closerange(3, 256)
        case "sleep":
            time.sleep(1000)
    return path.name


def descend() -> None:
    """End the C stack: every level holds a frame of C."""
    sorted([1, 2], key=lambda _: descend())  # type: ignore[arg-type,return-value]


POISONED = False


def poison(path: Path) -> str:
    """Like a decoder that corrupts the heap on one file, and dies of it on the next."""
    global POISONED
    if POISONED:
        os.abort()
    POISONED = path.name == "poison"
    return path.name


def hungry(path: Path) -> bytes | str:
    return b"big" * BIG if path.name == "big" else path.name


def process_id(path: Path) -> int:
    return os.getpid()


def confinement(path: Path) -> dict[str, object]:
    """What holds for a worker, seen from inside."""
    found: dict[str, object] = {
        "core": resource.getrlimit(resource.RLIMIT_CORE)[1],
        "output": Path("/proc/self/fd/2").samefile(os.devnull),
        "oom_score": Path("/proc/self/oom_score_adj").read_text().strip(),
    }
    print("chatter")
    os.write(2, b"chatter of a library in C")
    for name, attempt in {
        "socket": lambda: socket.socket(),
        "program": lambda: os.execv("/bin/true", ["true"]),
        "file": lambda: path.with_name("written").write_text("x"),
    }.items():
        try:
            attempt()
            found[name] = "allowed"
        except OSError as error:
            found[name] = os.strerror(error.errno or 0)
    return found


def refuse_to_start() -> None:
    raise RuntimeError("not in this process")
