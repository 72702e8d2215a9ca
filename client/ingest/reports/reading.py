"""Files of reports, read in confined worker processes: one that harms its reader costs itself.

What a file may cost grows with its size, so that a small one cannot take the machine and a large one is read.
What is read goes to the shelf piece by piece, so that ours is no more than a piece, whatever the size.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from os.path import relpath
from pathlib import Path

from client.ingest.confinement import Limits
from client.ingest.rejected import Reason, Refusal
from client.ingest.reports.report import Entry, Found, ReportFile
from client.ingest.reports.shelf import Shelf
from client.ingest.worker import InPieces
from client.ingest.workers import read_all, read_in_pieces

Read = Callable[[Sequence[ReportFile], Found], None]
"""Reads all files of a format into what it is given; picklable."""
Take = Callable[[Found], None]
"""Takes pieces, such as `Shelf.take`."""

MEMORY_BYTES, MEMORY_PER_BYTE = 1 << 30, 8
"""For any file, and for each byte of it: its text, our reports and their way to us are three copies."""
CPU_SECONDS, BYTES_PER_SECOND, FILES_PER_SECOND = 60, 1 << 18, 1000
"""For any file, and at least so much in each second more; usual are ten times as much."""
WALL_PER_CPU = 5.0
"""On a busy machine, or from a slow drive."""
LARGE_BYTES = 1 << 20
"""From here on a file is sent in pieces; smaller ones wait for their turn as a whole, some at a time."""


def read_each(
    files: Sequence[ReportFile], read: Read, shelf: Shelf, *, folder: Path, prefix: str = "", workers: int
) -> None:
    """Read files that have nothing to do with one another, each by itself.

    Args:
        files: with the places `relpath(path, folder)`.
        read: see `Read`.
        shelf: takes what is read, in the order of the files.
        folder: of the files.
        prefix: put before the places on the shelf.
        workers: processes; 0 reads in this one, unconfined.
    """
    take = partial(shelf.take, prefix=prefix)
    if not workers:
        _read_all(Path(), take, read=read, files=files)
        return
    for is_large, several in groupby(files, key=lambda file: _size(file) > LARGE_BYTES):
        if is_large:
            for file in several:
                _refuse([file], _stream([file], read, shelf, take), take)
        else:
            _read_small(list(several), read, take, folder=folder, workers=workers)


def _read_small(files: Sequence[ReportFile], read: Read, take: Take, *, folder: Path, workers: int) -> None:
    one = partial(_read_one, read=read, folder=folder)
    limits = _limits(max(_size(file) for file in files), files=1)
    answers = read_all([file.path for file in files], one, workers=workers, limits=limits)
    for file, answer in zip(files, answers, strict=True):
        if isinstance(answer, Reason):
            _refuse([file], answer, take)
        else:
            take(answer)


def read_together(
    files: Sequence[ReportFile], read: Read, shelf: Shelf, *, folder: Path, prefix: str = "", workers: int
) -> None:
    """Read files that refer to one another, all in one process; arguments as for `read_each`.

    If that process dies, each file is read alone to find those that it died of, then the others together.
    """
    take = partial(shelf.take, prefix=prefix)
    if not workers:
        _read_all(Path(), take, read=read, files=files)
        return
    death = _stream(files, read, shelf, take)
    if death is not None and len(files) > 1:
        alone = partial(_survives, read=read, folder=folder)
        limits = _limits(max(_size(file) for file in files), files=1)
        verdicts = read_all([file.path for file in files], alone, workers=workers, limits=limits)
        harmless = []
        for file, verdict in zip(files, verdicts, strict=True):
            if isinstance(verdict, Reason):
                _refuse([file], verdict, take)
            else:
                harmless.append(file)
        if not harmless:
            return
        files, death = harmless, _stream(harmless, read, shelf, take)
    _refuse(files, death, take)


def _stream(files: Sequence[ReportFile], read: Read, shelf: Shelf, take: Take) -> Reason | None:
    """Read files in one process; if it dies, nothing of them stays on the shelf, and why is returned."""
    limits, mark = _limits(sum(map(_size, files)), files=len(files)), shelf.mark
    reader = InPieces(partial(_read_all, read=read, files=files))
    for piece in read_in_pieces(files[0].path, reader, limits=limits):
        if isinstance(piece, Reason):
            shelf.take_off(mark)
            return piece
        take(piece)
    return None


def _refuse(files: Sequence[ReportFile], death: Reason | None, take: Take) -> None:
    """Put on the shelf what a process died of, if it did."""
    if death is not None:
        take(Found([Entry(Refusal(file.place, death)) for file in files]))


def _read_one(path: Path, *, read: Read, folder: Path) -> Found:
    found = Found()
    read([ReportFile(path, relpath(path, folder))], found)
    return found


def _survives(path: Path, *, read: Read, folder: Path) -> bool:
    """Read a file as far as it can be read alone, for what that does to this process."""
    read([ReportFile(path, relpath(path, folder))], Found(pass_on=_forget))
    return True


def _forget(_: Found) -> None:
    return


def _read_all(_: Path, pass_on: Take, *, read: Read, files: Sequence[ReportFile]) -> None:
    found = Found(pass_on=pass_on)
    read(files, found)
    found.pass_on_rest()


def _size(file: ReportFile) -> int:
    try:
        return file.path.stat().st_size
    except OSError:  # the worker will say so
        return 0


def _limits(size: int, *, files: int) -> Limits:
    seconds = CPU_SECONDS + size // BYTES_PER_SECOND + files // FILES_PER_SECOND
    return Limits(
        memory_bytes=MEMORY_BYTES + MEMORY_PER_BYTE * size,
        cpu_seconds=seconds,
        wall_seconds=WALL_PER_CPU * seconds,
    )
