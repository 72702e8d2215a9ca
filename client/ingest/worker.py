"""One process that reads files for us, and what its end says about the file that it was reading."""

import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Generic, TypeVar

from client.ingest.answers import Piece, read_answer, write_answer
from client.ingest.confinement import Limits, allow_seconds, confine
from client.ingest.rejected import Reason

T = TypeVar("T")

READY = b"ready"
GRACE_SECONDS = 10.0
"""For a process to end whose pipe has ended."""
START_SECONDS = 300.0
"""For the first worker, who waits for the fork server's imports, on a busy machine."""
OUT_OF_MEMORY, RETIRED = 101, 102
"""Exit codes: the file needs more memory than it may have; it has read all that one process may."""
READERS = "client.ingest.images", "client.ingest.reports"
"""What the fork server imports for its workers, whichever of them is wanted first."""
XCPU = -24 if sys.platform == "win32" else -signal.SIGXCPU


@dataclass(frozen=True)
class InPieces(Generic[T]):
    """A way to read a file that has more to say than fits into memory."""

    read: Callable[[Path, Callable[[T], None]], None]
    """Calls its second argument with each piece; picklable."""


Reader = Callable[[Path], T] | InPieces[T]


class Worker(Generic[T]):
    """A worker process. It is asked for files by number, and answers in the same order."""

    def __init__(self, read: Reader[T], limits: Limits) -> None:
        """Start the process; see `is_ready`."""
        context = _context(read)
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, read, limits), daemon=True)
        self._process.start()
        theirs.close()
        self.is_ready = False
        self.asked: deque[int] = deque()
        """Files without an answer yet; it reads the first of them."""
        self.num_answered = 0
        self._wall_seconds = limits.wall_seconds
        self._since = time.monotonic()
        self._expired = False

    def ask(self, number: int, path: Path) -> None:
        """Let it read a file after those that it was asked for before."""
        if self.is_ready and not self.asked:
            self._since = time.monotonic()
        self.asked.append(number)
        try:
            self.connection.send_bytes(os.fsencode(path))
        except OSError:  # it died; `answer` will say so
            return

    def answer(self) -> tuple[int, T | Reason | Piece | None] | None:
        """The next answer, waiting for it; None when all it had to say was that it is ready.

        Of a file that is read in pieces, each `Piece`, then None.

        Raises:
            EOFError: the process has ended.
        """
        try:
            message = self.connection.recv_bytes()
        except OSError:
            raise EOFError from None
        self._since = time.monotonic()
        if not self.is_ready:
            self.is_ready = True
            return None
        answer = read_answer(message)
        if isinstance(answer, Piece):
            return self.asked[0], answer
        self.num_answered += 1
        return self.asked.popleft(), answer

    def seconds_left(self) -> float:
        """Until its start, or the file that it reads, has taken too long on the wall's clock."""
        allowed = self._wall_seconds if self.is_ready else START_SECONDS
        return self._since + allowed - time.monotonic()

    def end(self, *, expired: bool = False) -> None:
        """End it now, whatever it does."""
        self._expired = expired
        self._process.kill()
        self._process.join()
        self.connection.close()

    def verdict(self) -> Reason | None:
        """What the end of the process says about the file it was reading; None if nothing."""
        self._process.join(GRACE_SECONDS)
        if (code := self._process.exitcode) is None:  # its end of the pipe is closed, and it lives on
            self.end()
            return Reason.DECODER_CRASHED
        self.connection.close()
        if self._expired or code == XCPU:
            return Reason.DECODER_TIMED_OUT
        if code == RETIRED:
            return None
        # Nobody else ends a worker by force: it was the kernel, because the machine ran out of memory.
        killed = code == -9
        return Reason.DECODER_OUT_OF_MEMORY if killed or code == OUT_OF_MEMORY else Reason.DECODER_CRASHED


if sys.platform == "win32":
    from multiprocessing.context import SpawnContext

    def _context(_: Reader[T]) -> SpawnContext:
        return multiprocessing.get_context("spawn")

else:
    from multiprocessing.context import ForkServerContext

    def _context(read: Reader[T]) -> ForkServerContext:
        # Not fork: this process may hold threads.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["__main__", __name__, *READERS, _module_of(read)])
        return context


def _module_of(read: Reader[T]) -> str:
    """Where `read` lives; the fork server imports it, with its decoders, once for all workers."""
    function = read.read if isinstance(read, InPieces) else read
    return (function.func if isinstance(function, partial) else function).__module__


def _serve(connection: Connection, read: Reader[T], limits: Limits) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the keyboard is for our parent, who ends us
    confine(limits, keep=connection.fileno())
    connection.send_bytes(READY)
    for _ in range(limits.files):
        try:
            path = Path(os.fsdecode(connection.recv_bytes()))
        except EOFError:
            return
        allow_seconds(limits)
        connection.send_bytes(_answer(read, path, connection))
    os._exit(RETIRED)


def _answer(read: Reader[T], path: Path, connection: Connection) -> bytes:
    try:
        if not isinstance(read, InPieces):
            return write_answer(read(path))
        read.read(path, lambda value: connection.send_bytes(write_answer(Piece(value))))
        return write_answer(None)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except BaseException:  # the file's doing; a panic of a decoder in Rust is no Exception
        return write_answer(Reason.DECODER_CRASHED)
