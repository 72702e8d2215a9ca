"""Calls that worker processes answer, as many at a time as there are workers."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Self, TypeVar, TypeVarTuple, cast

from simulations.nursery import Worker, WorkerDiedError, nursery

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")


class WorkerPool:
    """Processes that are ready to train; a context manager, at whose end they end, whatever they are at."""

    def __init__(self, workers: int, *, log: Path | None = None) -> None:
        """Have them forked.

        Args:
            workers: how many.
            log: file that they log to; their stderr when None.
        """
        self._log = log
        self._threads = ThreadPoolExecutor(workers)  # each waits for one worker
        self._workers = [self._hatch(place) for place in range(workers)]
        self._idle: SimpleQueue[int] = SimpleQueue()
        for place in range(workers):
            self._idle.put(place)
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, function: Callable[[*Arguments], Result], *arguments: *Arguments) -> "Future[Result]":
        """Have `function`, which a module holds, called as soon as a worker is idle.

        A first argument that a worker was sent in the call before is not sent again: whoever changes it in
        between hands over another object. The future raises what
        `function` raises, and `WorkerDiedError`; the next call finds a new worker.
        """
        return self._threads.submit(self._call, function, arguments)

    def close(self) -> None:
        """End the workers; calls that wait for one are cancelled."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.end()
        self._threads.shutdown()

    def _hatch(self, place: int) -> Worker:
        return nursery().hatch(f"worker-{place + 1}", self._log)

    def _call(self, function: Callable[..., Result], arguments: tuple[object, ...]) -> Result:
        place = self._idle.get()
        try:
            return cast(Result, self._workers[place].call(function, *arguments))
        except WorkerDiedError:
            if not self._closed:
                self._workers[place].end()
                self._workers[place] = self._hatch(place)
            raise
        finally:
            self._idle.put(place)
