"""Worker processes that train: forked from one that has imported what all of them need.

Importing torch takes longer than a small federation takes to run, so it is done once, while the hub starts.
"""

import logging
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import forkserver
from pathlib import Path

FORKS = "forkserver" in multiprocessing.get_all_start_methods()
"""Elsewhere every worker imports for itself."""
PRELOADED = ("__main__", "simulations.site_modules")


def start_worker_server() -> None:
    """Begin, in a process of its own, to import what workers need; returns at once.

    That process computes nothing: torch's threads, which no fork survives, begin in the workers. OpenBLAS and
    Arrow start theirs when they are imported, and make them anew after a fork by themselves.
    """
    if FORKS:
        forkserver.set_forkserver_preload(list(PRELOADED))
        forkserver.ensure_running()


def worker_pool(workers: int, *, log: Path | None = None) -> ProcessPoolExecutor:
    """Processes that are ready to train.

    Args:
        workers: how many.
        log: file that they log to; their stderr when None.
    """
    start_worker_server()
    context = multiprocessing.get_context("forkserver" if FORKS else "spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(log,))


def log_handler(path: Path) -> logging.Handler:
    """Appends to `path`, which is made with the first line."""
    handler = logging.FileHandler(path, delay=True, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(processName)s: %(message)s"))
    return handler


def _begin(log: Path | None) -> None:
    if log is not None:
        logging.getLogger("fedvlp").addHandler(log_handler(log))
