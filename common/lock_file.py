"""A lock that one process holds at a time, and that is free again when it ends, however that happens."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import ConfigurationError


@contextmanager
def held_alone(path: Path, *, refusal: str) -> Iterator[None]:
    """Hold the lock file `path`, which is made with its folder, private to its owner.

    Args:
        path: of the lock; it names the process that holds it.
        refusal: the line for whoever comes second; "{holder}" in it becomes that process.

    Raises:
        ConfigurationError: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            raise ConfigurationError(refusal.replace("{holder}", holder)) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)
