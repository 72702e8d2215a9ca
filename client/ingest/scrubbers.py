"""Work on many reports shared by several processes: answers in order, a bounded number ahead."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from common.errors import ConfigurationError

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

ALONE = 2000
"""Reports that are worked off here first: as many take no longer than processes take to start."""

TOGETHER = 64
"""Reports sent to a process at a time."""

AHEAD = 4
"""Times `TOGETHER` reports for each process that may be worked off before their turn."""


def in_order(
    work: Callable[[Asked], Answer], asked: Iterable[Asked], *, workers: int, alone: int = ALONE
) -> Iterator[Answer]:
    """Yield `work(one)` for every one of `asked`, in order, whatever the number of `workers`.

    Args:
        work: a function of a module, whose arguments and answers can be pickled.
        asked: read in this thread, no further ahead than processes need.
        workers: processes that work at once; with one, all is done here.
        alone: how many of `asked` are worked off here before processes are started.

    Raises:
        ConfigurationError: a process was ended, for want of memory most likely.
    """
    waiting = iter(asked)
    yield from map(work, waiting if workers == 1 else islice(waiting, alone))
    first = list(islice(waiting, TOGETHER))
    if not first:
        return
    # Not fork: this process may hold threads.
    crew = ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("forkserver"), initializer=_leave_keyboard_to_parent
    )
    try:
        yield from _answers(crew, work, first, waiting, most=AHEAD * workers)
    except BrokenProcessPool:
        raise ConfigurationError(
            "a process that worked on reports was ended, for want of memory most likely; run ingest again "
            "with fewer --workers"
        ) from None
    finally:
        crew.shutdown(cancel_futures=True)


def _answers(
    crew: ProcessPoolExecutor,
    work: Callable[[Asked], Answer],
    some: list[Asked],
    waiting: Iterator[Asked],
    *,
    most: int,
) -> Iterator[Answer]:
    given: deque[Future[list[Answer]]] = deque()
    while some or given:
        if some:
            given.append(crew.submit(_each, work, some))
            some = list(islice(waiting, TOGETHER))
        if len(given) >= most or not some:
            yield from given.popleft().result()


def _each(work: Callable[[Asked], Answer], some: list[Asked]) -> list[Answer]:
    return [work(one) for one in some]


def _leave_keyboard_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
