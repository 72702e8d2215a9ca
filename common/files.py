"""Files that are either whole or absent: write beside, fsync, rename."""

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from common.errors import ConfigurationError
from common.regular_file import open_regular

CHUNK_BYTES = 1 << 20


@contextmanager
def whole_path(path: Path, *, mode: int = 0o644) -> Iterator[Path]:
    """A path to write to; when the block ends, what is there becomes `path` at once, or nothing does.

    A reader sees the old file or the whole new one, whatever is killed when.

    Raises:
        ConfigurationError: the disk is full; nothing is left behind and an older `path` is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(descriptor)
    beside = Path(name)
    try:
        with _says_what_a_full_disk_left(path):
            yield beside
            _sync(beside)
            beside.chmod(mode)
            beside.replace(path)
            _sync(path.parent)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """An empty folder to fill; when the block ends it becomes `path`, in the place of an older one.

    Killed at the very moment of the exchange, the older folder may be gone and the new one still beside.

    Raises:
        ConfigurationError: the disk is full; nothing is left behind and an older `path` is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        with _says_what_a_full_disk_left(path):
            yield beside
            for file in [*beside.rglob("*"), beside]:
                _sync(file)
            beside.chmod(0o755)
            if path.exists():
                shutil.rmtree(path)
            beside.replace(path)
            _sync(path.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def whole_file(path: Path, *, mode: int = 0o644) -> Iterator[BinaryIO]:
    """Write `path` through an open file; see `whole_path`."""
    with whole_path(path, mode=mode) as beside, beside.open("wb") as file:
        yield file


def write_whole(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write `content` to `path`; see `whole_file`."""
    with whole_file(path, mode=mode) as file:
        file.write(content)


def sha256_of(path: Path) -> str:
    """Hex digest of a file, read in chunks of 1 MiB."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _says_what_a_full_disk_left(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if _says_disk_full(error):
            raise ConfigurationError(
                f"the disk is full: {path.name} was not written and its last good version is kept; "
                "make room and run again"
            ) from None
        raise


def _says_disk_full(error: Exception) -> bool:
    """Whether the operating system refused for lack of room; safetensors tells it in its text only."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return f"os error {errno.ENOSPC})" in str(error) or f"os error {errno.EDQUOT})" in str(error)
