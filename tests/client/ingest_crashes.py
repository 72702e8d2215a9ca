"""A program: an ingest that dies, or finds the disk full, at each moment in which it writes.

    python ingest_crashes.py kill|full DICOM REPORTS OLDER SCRATCH STRIDE

A moment is a call that makes something lasting: a sync, a rename, a removal. For each, a copy of store OLDER
is brought up to date by a forked process that ends there; the next process must find the old store whole or
finish the new one, and end in the very bytes of an ingest that nothing disturbed. Prints how many there were.
"""

import errno
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from client.ingest import archive, journal
from client.ingest.build import Target, ingest
from client.ingest.pseudonyms import Pseudonyms
from client.ingest.survey import Source, survey
from common.errors import ConfigurationError
from common.imaging.preparation import Preparation

SECRET = Pseudonyms(b"s" * 32)
PREPARATION = Preparation(image_size=16, burned_in="keep")
FULL, WRONG = 3, 4
"""Exit codes of a process that met a full disk, and of one that met anything else."""


def build(dicom: Path, reports: Path, store: Path) -> int:
    """Bring the store up to date in this process; return the number of files read."""
    target = Target(store, "lakeside", PREPARATION)
    return ingest(survey(Source(dicom, [reports]), store), target, SECRET, workers=1).num_read


def contents(store: Path) -> dict[str, bytes]:
    """The files of the finished store."""
    return {path.name: path.read_bytes() for path in files(store) if not path.name.startswith(".")}


def files(store: Path) -> list[Path]:
    """All of its files, those that a killed process left among them."""
    return sorted(path for path in store.iterdir() if path.is_file())


class Moments:
    """Counts the lasting calls of this process, and lets one of them be the last."""

    def __init__(self, last: int, end: Callable[[], None]) -> None:
        self._last, self._end, self.seen = last, end, 0
        for name in ("replace", "rename", "unlink", "rmdir"):
            setattr(Path, name, self._watched(getattr(Path, name)))
        os.fsync = self._watched(os.fsync)

    def _watched(self, call: Callable[..., object]) -> Callable[..., object]:
        def watched(*arguments: object, **named: object) -> object:
            self.seen += 1
            if self.seen == self._last:
                self._end()
            return call(*arguments, **named)

        return watched


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def find_the_disk_full() -> None:
    raise OSError(errno.ENOSPC, "no space")


def in_fork(work: Callable[[], object]) -> int:
    """Run `work` in a forked process and return what its parent learns of its end."""
    if not (child := os.fork()):
        code = WRONG
        try:
            work()
            code = 0
        except ConfigurationError as error:
            code = FULL if "full" in str(error) else WRONG
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    mode, stride = sys.argv[1], int(sys.argv[6])
    dicom, reports, older, scratch = map(Path, sys.argv[2:6])
    # In this very process, so that a fork is cheap; real workers are killed in the tests beside.
    archive.read_all = lambda files, read, **_: map(read, files)
    journal.BLOCK_FILES = 2
    for path in sorted(dicom.rglob("*.dcm")):
        archive.read_images(path, preparation=PREPARATION)  # so that no fork has to import a decoder
    store = scratch / "store"
    shutil.copytree(older, scratch / "new")
    assert in_fork(lambda: build(dicom, reports, scratch / "new")) == 0
    old, new = contents(older), contents(scratch / "new")
    assert old != new
    moment = 0
    while True:
        moment += stride
        shutil.rmtree(store, ignore_errors=True)
        shutil.copytree(older, store)

        def disturbed(last: int = moment) -> None:
            Moments(last, die if mode == "kill" else find_the_disk_full)
            build(dicom, reports, store)

        ended = in_fork(disturbed)
        if ended == 0:
            break
        assert ended == (-signal.SIGKILL if mode == "kill" else FULL), (moment, ended)
        left = contents(store)
        whole = left in (old, new) or "store.json" not in left
        assert whole, (moment, sorted(left))
        assert in_fork(lambda: build(dicom, reports, store)) == 0, moment
        assert contents(store) == new, moment
        assert len(files(store)) == len(new), moment
    print(moment // stride - 1)


if __name__ == "__main__":
    main()
