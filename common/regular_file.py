"""Files that are read because somebody named them: regular ones, never a pipe or a device, which would hang.

Whatever is not one is refused as an `OSError` with a word for people, like a file that is not there.
"""

import errno
import os
import stat
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO

NOT_REGULAR = "Not a regular file"


def require_regular(path: Path) -> None:
    """For readers that open `path` themselves.

    Raises:
        OSError: it is not there, or is a folder, a pipe, a device or a socket.
    """
    _require(path, path.stat().st_mode)


def open_regular(path: Path) -> BinaryIO:
    """Open `path` for reading, without waiting for anybody.

    Raises:
        OSError: see `require_regular`; or it may not be read.
    """
    require_regular(path)  # before the opening, which a device would notice
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _require(path, os.fstat(descriptor).st_mode)
    except OSError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path, *, at_most: int = -1) -> bytes:
    """What is in the file `path`, or its first `at_most` bytes; see `open_regular`."""
    with open_regular(path) as file:
        return file.read(at_most)


def read_regular_text(path: Path, *, encoding: str = "utf-8", errors: str = "strict") -> str:
    """The text in the file `path`, every end of line as a newline; see `open_regular`."""
    with TextIOWrapper(open_regular(path), encoding=encoding, errors=errors) as file:
        return file.read()


def _require(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, NOT_REGULAR, str(path))
