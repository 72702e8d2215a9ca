"""Reading files in worker processes: in order, a bounded number ahead, one file lost to a decoder's crash."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TypeVar

from client.ingest.rejected import Reason

T = TypeVar("T")

CHUNK_FILES = 8
CHUNKS_AHEAD = 4
"""Chunks in flight for each worker; bounds the memory of results that wait for their turn."""


def read_all(paths: Sequence[Path], read: Callable[[Path], T], *, workers: int) -> Iterator[T | Reason]:
    """Yield `read(path)` for every path, in order, whatever the number of `workers`.

    A file on which a worker process dies yields `Reason.DECODER_CRASHED`; its neighbours are read again.
    `read` must be picklable and must not raise.
    """
    chunks = iter([paths[start : start + CHUNK_FILES] for start in range(0, len(paths), CHUNK_FILES)])
    waiting: deque[tuple[Sequence[Path], Future[list[T]]]] = deque()
    pool = _pool(workers)
    try:
        while True:
            while len(waiting) < workers * CHUNKS_AHEAD and (chunk := next(chunks, None)):
                waiting.append((chunk, _submit(pool, read, chunk)))
            if not waiting:
                return
            chunk, future = waiting.popleft()
            results: Sequence[T | Reason]
            try:
                results = future.result()
            except BrokenProcessPool:
                pool.shutdown()
                results = _one_by_one(chunk, read)
                pool = _pool(workers)
                waiting = deque((chunk, _submit(pool, read, chunk)) for chunk, _ in waiting)
            yield from results
    finally:
        pool.shutdown(cancel_futures=True)


def _one_by_one(paths: Sequence[Path], read: Callable[[Path], T]) -> list[T | Reason]:
    results: list[T | Reason] = []
    pool = _pool(1)
    try:
        for path in paths:
            try:
                results += pool.submit(_read_chunk, read, [path]).result()
            except BrokenProcessPool:
                results.append(Reason.DECODER_CRASHED)
                pool.shutdown()
                pool = _pool(1)
    finally:
        pool.shutdown()
    return results


def _submit(pool: ProcessPoolExecutor, read: Callable[[Path], T], paths: Sequence[Path]) -> Future[list[T]]:
    try:
        return pool.submit(_read_chunk, read, paths)
    except BrokenProcessPool as error:
        failed: Future[list[T]] = Future()
        failed.set_exception(error)
        return failed


def _read_chunk(read: Callable[[Path], T], paths: Sequence[Path]) -> list[T]:
    return [read(path) for path in paths]


def _pool(workers: int) -> ProcessPoolExecutor:
    # Not fork: the parent may hold threads. A fork server imports the decoders once for all workers.
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["__main__", "client.ingest.dicom"])
    return ProcessPoolExecutor(workers, mp_context=context)
