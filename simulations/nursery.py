"""A process that has imported what training needs and computed nothing, and forks workers from itself.

Importing torch takes longer than a small federation takes to run, so it is done once. A command that imports
it anyway forks the nursery from itself. In a process that has other threads or has computed, as in a test, no
fork would survive: there the nursery is a fresh interpreter.
"""

import atexit
import importlib
import logging
import multiprocessing
import os
import signal
import traceback
import weakref
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path
from threading import Lock
from typing import NoReturn

from common.loading import loading

MODULES = "client.app", "numpy.random", "torch.profiler._cupti_monitor"
"""What a worker imports before it is a hospital: the last two are else imported in its first round."""


@dataclass(frozen=True)
class Hatch:
    """Asks for a worker, for the connection that comes with it."""

    number: int
    """By which the worker goes from now on."""
    name: str
    log: Path | None


@dataclass(frozen=True)
class End:
    """Asks to end a worker, whatever it is at."""

    number: int


@dataclass(frozen=True)
class Call:
    """Asks a worker to call something."""

    function: Callable[..., object]
    arguments: tuple[object, ...]
    known: bool
    """Whether the first argument, left out here, is that of the call before."""


class WorkerDiedError(BrokenExecutor):
    """The process that was at work is gone."""


class Nursery:
    """Our end of the process; one is enough for all pools. It ends with us, and its workers with it."""

    def __init__(self, *, forked: bool) -> None:
        self._lock = Lock()
        self._hatched = 0
        self._control, theirs = Pipe()
        self._process = self._fork(theirs) if forked else _spawn(theirs)
        theirs.close()
        atexit.register(self._control.close)

    def hatch(self, name: str, log: Path | None) -> "Worker":
        """A new worker, which is called `name` in what it logs to `log`, or to stderr when None.

        It may not be there yet: what it is asked meanwhile waits for it.
        """
        ours, theirs = Pipe()
        with self._lock:
            self._hatched += 1
            self._control.send(Hatch(self._hatched, name, log))
            send_handle(self._control, theirs.fileno(), self._process)
            theirs.close()
            return Worker(self, self._hatched, ours)

    def end(self, number: int) -> None:
        """Let the worker of this number be ended soon, whatever it is at."""
        with self._lock:
            self._control.send(End(number))

    def _fork(self, theirs: Connection) -> int:
        process = os.fork()
        if not process:
            self._control.close()
            try:
                _be_nursery(theirs)
            finally:
                os._exit(0)
        return process


def _spawn(theirs: Connection) -> int:
    process = multiprocessing.get_context("spawn").Process(target=_be_nursery, args=(theirs,), name="nursery")
    process.start()
    assert process.pid is not None
    return process.pid


class Worker:
    """A process that does one thing at a time."""

    def __init__(self, nursery: Nursery, number: int, connection: Connection) -> None:
        self._nursery = nursery
        self.number = number
        """As the nursery counts."""
        self._connection = connection
        self._holds: Callable[[], object] = lambda: None
        """What came first among the arguments of the last call, while somebody else holds it too."""

    def call(self, function: Callable[..., object], *arguments: object) -> object:
        """What `function` of a module returns, or raises, when the worker calls it.

        Args:
            function: found by its name.
            arguments: the first, which may be large, is sent only if it is another object than that of the
                last call.

        Raises:
            WorkerDiedError: before it answered.
        """
        first = arguments[0] if arguments else None
        known = first is not None and self._holds() is first
        try:
            self._connection.send(Call(function, arguments[known:], known))
            self._holds = _weakly(first)
            value, error = self._connection.recv()
        except (EOFError, OSError) as closed:
            raise WorkerDiedError(f"worker {self.number} died") from closed
        if error is not None:
            raise error
        return value

    def end(self) -> None:
        """End the process, whatever it is at; to whoever waits for it, it died."""
        self._nursery.end(self.number)


_nurseries: list[Nursery] = []
"""The one of this process, once there is one."""


def fork_nursery() -> None:
    """Fork the nursery from this process, which must have no other thread and have computed nothing.

    OpenBLAS and Arrow start threads when they are imported, and make them anew after a fork by themselves.
    """
    if not _nurseries:
        _nurseries.append(Nursery(forked=True))


def nursery() -> Nursery:
    """The one that this process has; a fresh interpreter unless it was forked."""
    if not _nurseries:
        _nurseries.append(Nursery(forked=False))
    return _nurseries[0]


def log_handler(path: Path) -> logging.Handler:
    """Appends to `path`, which is made with the first line."""
    handler = logging.FileHandler(path, delay=True, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(processName)s: %(message)s"))
    return handler


def _import() -> None:
    with loading():
        for name in MODULES:
            importlib.import_module(name)


def _be_nursery(control: Connection) -> None:
    """Fork when asked, until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the keyboard is for the process that asks, which ends us
    _import()
    workers: dict[int, int] = {}
    with suppress(EOFError, OSError):  # it was closed, or whoever asks died
        while True:
            match control.recv():
                case Hatch() as hatch:
                    workers[hatch.number] = _fork(hatch, recv_handle(control), control)
                case End(number):
                    if number in workers:
                        _end(workers.pop(number))
    for process in workers.values():
        _end(process)


def _fork(hatch: Hatch, descriptor: int, control: Connection) -> int:
    process = os.fork()
    if not process:
        control.close()
        _begin(hatch)
        _be_worker(Connection(descriptor))
    os.close(descriptor)
    return process


def _end(process: int) -> None:
    """A process keeps its number until it is waited for here, even if it died long ago."""
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


def _be_worker(connection: Connection) -> NoReturn:
    held: object = None
    try:
        while True:
            call: Call = connection.recv()
            arguments = (held, *call.arguments) if call.known else call.arguments
            held = arguments[0] if arguments else None
            connection.send(_outcome(call.function, arguments))
    except (EOFError, OSError):
        pass  # nobody asks any more
    except BaseException:
        traceback.print_exc()  # what was asked or answered cannot be sent
    finally:
        os._exit(0)


def _outcome(
    function: Callable[..., object], arguments: tuple[object, ...]
) -> tuple[object, Exception | None]:
    try:
        return function(*arguments), None
    except Exception as error:
        error.add_note(f"in a worker:\n{traceback.format_exc()}")
        return None, error


def _weakly(held: object) -> Callable[[], object]:
    try:
        return weakref.ref(held)
    except TypeError:
        return lambda: None


def _begin(hatch: Hatch) -> None:
    multiprocessing.current_process().name = hatch.name
    if hatch.log is not None:
        logging.getLogger("fedvlp").addHandler(log_handler(hatch.log))
