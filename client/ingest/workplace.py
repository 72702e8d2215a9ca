"""Where a store is made: a folder inside it, and the moment in which the new store takes its place.

    .ingest/        readable by its owner only; one ingest at a time
      journal       what came of each file, sealed; see `client.ingest.journal`
      pixels        frames that are not in the finished store
      next/         the new store while it is written
      ready/        the new store once it is whole: it is moved into place, file by file

Until `next` becomes `ready`, which is one step for the file system, the old store is as it was, whatever is
killed and however full the disk is. After that step the new store is complete, and an ingest that was killed
while moving it is continued by the next one before anything else.
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from client.ingest.account import ACCOUNT
from client.ingest.journal import JOURNAL, PIXELS
from client.ingest.quality.figures import PAGE, RECORD
from client.ingest.rejected import REJECTED
from client.ingest.scratch import PREFIX
from common.errors import ConfigurationError
from common.store import IMAGES, INDEX, LABELS, MANIFEST

WORK, NEXT, READY = ".ingest", "next", "ready"
BESIDE = (IMAGES, INDEX, REJECTED, ACCOUNT)
"""What takes its place before the manifest, which makes a folder a store."""
OURS = frozenset({WORK, MANIFEST, LABELS, RECORD, PAGE, *BESIDE})


def require_free(store: Path) -> None:
    """Refuse a folder that is not a store's, so that nobody's files are overwritten.

    Raises:
        ConfigurationError: there is something else.
    """
    if not store.exists():
        return
    if not store.is_dir():
        raise ConfigurationError(f"{store} is a file; give a new folder as --store")
    if not (store / MANIFEST).exists() and not all(_is_ours(entry.name) for entry in store.iterdir()):
        raise ConfigurationError(
            f"{store} exists and is not a store; give a new folder as --store, or empty this one"
        )


def _is_ours(name: str) -> bool:
    """Tell whether a store holds such an entry, or what writing it leaves when it is killed."""
    return name in OURS or name.startswith((PREFIX, *(f".{ours}." for ours in OURS)))


class Workplace:
    """The folder in which one ingest works."""

    def __init__(self, store: Path) -> None:
        """Work for the store in folder `store`; see `open_workplace`."""
        self.store, self.folder = store, store / WORK
        self.next = self.folder / NEXT

    @property
    def holds_store(self) -> bool:
        """Whether there is an older store."""
        return (self.store / MANIFEST).exists()

    def commit(self) -> None:
        """Put the new store, which is whole in `next`, in the place of the old one."""
        if not self.holds_store:
            (self.store / LABELS).unlink(missing_ok=True)
        _sync(self.next)
        self.next.rename(self.folder / READY)
        _sync(self.folder)
        self.install()

    def install(self) -> None:
        """Move what is ready into place; continues a move that was cut off.

        Labels point to rows, so those of the old store stay only if the new one is the same.
        """
        ready = self.folder / READY
        if not ready.exists():
            return
        old, new = self.store / MANIFEST, ready / MANIFEST
        if old.exists() and new.exists():
            if old.read_bytes() != new.read_bytes():
                (self.store / LABELS).unlink(missing_ok=True)
            old.unlink()
        moves = [(JOURNAL, self.folder), (PIXELS, self.folder), *((name, self.store) for name in BESIDE)]
        for name, place in [*moves, (MANIFEST, self.store)]:
            if (ready / name).exists():
                (ready / name).replace(place / name)
        _sync(self.store)
        ready.rmdir()

    def leave(self) -> None:
        """Take the folder away, and the store's where nothing else is in it."""
        shutil.rmtree(self.folder)
        if not any(self.store.iterdir()):
            self.store.rmdir()


@contextmanager
def open_workplace(store: Path) -> Iterator[Workplace]:
    """Make the folder and lock it, finish what an ingest before had ready, sweep out what it had not.

    Raises:
        ConfigurationError: another ingest is at work here, or the disk is full.
    """
    workplace = Workplace(store)
    workplace.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(workplace.folder, os.O_RDONLY)
    try:
        _lock(lock, store)
        workplace.install()
        shutil.rmtree(workplace.next, ignore_errors=True)
        for entry in store.iterdir():
            if entry.name not in OURS and _is_ours(entry.name):
                entry.unlink()
        workplace.next.mkdir()
        yield workplace
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ConfigurationError(
                f"the disk of {store} is full: an older store there is as it was; make room and ingest "
                "again, which goes on where it stopped"
            ) from None
        raise
    finally:
        shutil.rmtree(workplace.next, ignore_errors=True)
        os.close(lock)


def _lock(descriptor: int, store: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise ConfigurationError(f"another ingest is writing {store}; wait for it or stop it") from None


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
