"""Reading files in worker processes: in order, a bounded number ahead, one file lost to a decoder's end."""

import heapq
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import Generic, TypeVar, cast

from client.ingest.answers import Piece
from client.ingest.confinement import Limits
from client.ingest.rejected import Reason
from client.ingest.worker import InPieces, Worker

T = TypeVar("T")

AHEAD = 16
"""Files for each worker that may be read before their turn; bounds the memory of results that wait."""
ASKED = 2
"""Files a worker is asked for at a time: one to read, one so that it need not wait for us."""
TRIES = 3
"""To start a worker, before we give up."""


def read_all(
    paths: Sequence[Path], read: Callable[[Path], T], *, workers: int, limits: Limits | None = None
) -> Iterator[T | Reason]:
    """Yield `read(path)` for every path, in order, whatever the number of `workers`.

    A file on which a worker process dies yields the reason: `DECODER_CRASHED`, `DECODER_OUT_OF_MEMORY` or
    `DECODER_TIMED_OUT`. A worker that has read other files before may have been harmed by them, so only the
    second death, in a fresh process, is held against a file. The files that waited behind it are read once.

    Args:
        paths: the files.
        read: picklable; returns plain values, arrays, or data classes of `client.ingest` and `common`. What
            it raises counts as a crash.
        workers: processes that read at once.
        limits: what one file may cost; those of `Limits` unless given.

    Raises:
        ChildProcessError: no worker process can be started.
    """
    crew = _Crew(paths, read, workers, limits or Limits())
    try:
        for number in range(len(paths)):
            yield crew.result(number)
    finally:
        crew.end()


def read_in_pieces(path: Path, read: InPieces[T], *, limits: Limits) -> Iterator[T | Reason]:
    """Yield what `read` tells of one file, piece by piece; memory holds one piece.

    A reason comes last, and only if the process died: then what came before is not the whole either.

    Args:
        path: the file.
        read: its pieces are of the types that `read_all` allows.
        limits: what the file may cost; the time on the wall's clock is that between two pieces.

    Raises:
        ChildProcessError: no worker process can be started.
    """
    for _ in range(TRIES):
        worker: Worker[T] = Worker(read, limits)
        try:
            worker.ask(0, path)
            yield from _pieces(worker)
            if worker.is_ready:
                return
        finally:
            worker.end()
    raise ChildProcessError(_NO_PROCESS)


def _pieces(worker: Worker[T]) -> Iterator[T | Reason]:
    while True:
        if not worker.connection.poll(max(0.0, worker.seconds_left())):
            worker.end(expired=True)
            yield Reason.DECODER_TIMED_OUT
            return
        try:
            answer = worker.answer()
        except EOFError:
            if worker.is_ready:
                yield worker.verdict() or Reason.DECODER_CRASHED
            return
        if answer is None:
            continue
        if not isinstance(answer[1], Piece):
            if isinstance(answer[1], Reason):
                yield answer[1]
            return
        yield cast(T, answer[1].value)


_NO_PROCESS = "no process that reads files can be started"


class _Crew(Generic[T]):
    """The workers, which file is whose, and the results that wait for their turn."""

    def __init__(
        self, paths: Sequence[Path], read: Callable[[Path], T], workers: int, limits: Limits
    ) -> None:
        self._paths, self._read, self._limits = paths, read, limits
        self._size = min(workers, len(paths))
        self._workers: list[Worker[T]] = []
        self._fresh = 0
        """All files before this one have been given to a worker once."""
        self._again: list[int] = []
        """A heap of files whose worker ended before it came to them."""
        self._results: dict[int, T | Reason] = {}
        self._failed_starts = 0

    def result(self, number: int) -> T | Reason:
        """Let the workers read on until this result is there."""
        while number not in self._results:
            self._fill()
            self._hand_out(before=number + AHEAD * self._size)
            self._take_in()
        return self._results.pop(number)

    def end(self) -> None:
        """End all workers now."""
        for worker in self._workers:
            worker.end()

    def _fill(self) -> None:
        while len(self._workers) < self._size:
            self._workers.append(Worker(self._read, self._limits))

    def _hand_out(self, *, before: int) -> None:
        """Ask each worker for one file, then each for a second."""
        for full in range(1, ASKED + 1):
            for worker in self._workers:
                if len(worker.asked) < full and (number := self._next(before)) is not None:
                    worker.ask(number, self._paths[number])

    def _next(self, before: int) -> int | None:
        if self._again:
            return heapq.heappop(self._again)
        if self._fresh < min(before, len(self._paths)):
            self._fresh += 1
            return self._fresh - 1
        return None

    def _take_in(self) -> None:
        """Wait until a worker answers, ends, or has taken too long."""
        busy = [worker for worker in self._workers if worker.asked or not worker.is_ready]
        patience = max(0.0, min(worker.seconds_left() for worker in busy))
        ready = wait([worker.connection for worker in busy], patience)
        for worker in busy:
            if worker.connection in ready:
                self._hear(worker)
            elif worker.seconds_left() < 0:
                worker.end(expired=True)
                self._bury(worker)

    def _hear(self, worker: Worker[T]) -> None:
        try:
            answer = worker.answer()
        except EOFError:
            self._bury(worker)
            return
        self._failed_starts = 0
        if answer is not None:
            number, result = answer
            self._results[number] = cast(T | Reason, result)

    def _bury(self, worker: Worker[T]) -> None:
        """Put another in the place of a worker that has ended, and share out what it had to read."""
        verdict = worker.verdict()
        self._workers.remove(worker)
        if not worker.is_ready:
            self._failed_starts += 1
            if self._failed_starts == TRIES:
                raise ChildProcessError(_NO_PROCESS)
        elif verdict is not None and worker.asked:
            number = worker.asked.popleft()
            if worker.num_answered == 0 or verdict is Reason.DECODER_TIMED_OUT:
                self._results[number] = verdict
            else:
                successor = Worker(self._read, self._limits)
                successor.ask(number, self._paths[number])
                self._workers.append(successor)
        for number in worker.asked:
            heapq.heappush(self._again, number)
