"""Files of reports, read in confined worker processes: one that harms its reader costs itself.

What a file may cost grows with its size, so that a small one cannot take the machine and a large one is read.
"""

from collections.abc import Callable, Sequence
from functools import partial
from os.path import relpath
from pathlib import Path

from client.ingest.confinement import Limits
from client.ingest.rejected import Reason
from client.ingest.reports.report import Found, ReportFile
from client.ingest.workers import read_all

Read = Callable[[Sequence[ReportFile]], Found]
"""Reads all files of a format; picklable."""

MEMORY_BYTES, MEMORY_PER_BYTE = 1 << 30, 8
"""For any file, and for each byte of it: its text, our reports and their way to us are three copies."""
CPU_SECONDS, BYTES_PER_SECOND, FILES_PER_SECOND = 60, 1 << 18, 1000
"""For any file, and at least so much in each second more; usual are ten times as much."""
WALL_PER_CPU = 5.0
"""On a busy machine, or from a slow drive."""


def read_each(files: Sequence[ReportFile], read: Read, *, folder: Path, workers: int) -> Found:
    """Read files that have nothing to do with one another, each by itself.

    Args:
        files: with the places `relpath(path, folder)`.
        read: see `Read`.
        folder: of the files.
        workers: processes; 0 reads in this one, unconfined.
    """
    if not workers:
        return read(files)
    one = partial(_read_one, read=read, folder=folder)
    limits = _limits(max(_size(file) for file in files), files=1)
    answers = read_all([file.path for file in files], one, workers=workers, limits=limits)
    found = Found()
    for file, answer in zip(files, answers, strict=True):
        _accept(answer, [file], found)
    return found


def read_together(files: Sequence[ReportFile], read: Read, *, folder: Path, workers: int) -> Found:
    """Read files that refer to one another, all in one process.

    If that process dies, each file is read alone to find those that it died of, then the others together.
    """
    if not workers:
        return read(files)
    found = Found()
    answer = _answer(files, read)
    if isinstance(answer, Reason) and len(files) > 1:
        alone = partial(_survives, read=read, folder=folder)
        limits = _limits(max(_size(file) for file in files), files=1)
        verdicts = read_all([file.path for file in files], alone, workers=workers, limits=limits)
        harmless = []
        for file, verdict in zip(files, verdicts, strict=True):
            if isinstance(verdict, Reason):
                found.refuse(file.place, verdict)
            else:
                harmless.append(file)
        if not harmless:
            return found
        files, answer = harmless, _answer(harmless, read)
    _accept(answer, files, found)
    return found


def _answer(files: Sequence[ReportFile], read: Read) -> Found | Reason:
    limits = _limits(sum(map(_size, files)), files=len(files))
    (answer,) = read_all(
        [files[0].path], partial(_read_all, read=read, files=files), workers=1, limits=limits
    )
    return answer


def _accept(answer: Found | Reason, files: Sequence[ReportFile], found: Found) -> None:
    if isinstance(answer, Found):
        found.extend(answer)
    else:
        for file in files:
            found.refuse(file.place, answer)


def _read_one(path: Path, *, read: Read, folder: Path) -> Found:
    return read([ReportFile(path, relpath(path, folder))])


def _survives(path: Path, *, read: Read, folder: Path) -> bool:
    """Read a file as far as it can be read alone, for what that does to this process."""
    _read_one(path, read=read, folder=folder)
    return True


def _read_all(_: Path, *, read: Read, files: Sequence[ReportFile]) -> Found:
    return read(files)


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
